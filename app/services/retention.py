"""What goes for good: what was deleted long ago, and what nobody will ever ask for.

Each function is a generator of steps. It says what it does, one thing at a time, or None when there is nothing to say
yet, and whoever runs it commits at every step before it goes on; so the rows of a thing go first, and its files after
that. Should the process die between the two, `lost_files` finds the files by the ids in their names. With `dry_run` the
same is said and nothing is done.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from app.dialect import READING
from app.errors import Conflict
from app.extensions import db
from app.models import SYSTEM, Analysis, Annotation, Artifact, Export, Image, WebhookDelivery
from app.models.pipeline_keys import UsedNonce
from app.services import artifacts, audit, kept_exports, webhooks
from app.services.deletions import title_of
from app.storage import ListedObject, Storage
from app.storage.base import EXPORTS

Steps = Generator[str | None]
Item = TypeVar("Item")

ROWS = 5000  # deleted at once: no writer of SQLite waits longer, and PostgreSQL's patience is enough
FOLDERS = 200  # looked up at once
PAGE = 100  # artifacts: the storage is asked for each of them between two steps
FEW = 20  # images: as many as that may all be lost without looking like those of somebody else
RENDERS = "renders/analyses/"
Kind: TypeAlias = type[Image] | type[Analysis] | type[Export]
# where files are called by the ids of rows, and of which
PLACES: tuple[tuple[str, Kind], ...] = (
    ("images/", Image),
    ("renders/images/", Image),
    ("ml_outputs/", Analysis),
    (RENDERS, Analysis),
    (EXPORTS, Export),
)
_FOLDER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OF_ANNOTATION = re.compile(rf"({_FOLDER.pattern})(?:-[0-9a-f]+\.png|\.txt)")
_SNAPSHOT = re.compile(r"snapshot-([0-9]+)-.+")


# --- what was deleted --------------------------------------------------------------------------------------------


def purge(before: datetime, storage: Storage, *, dry_run: bool) -> Steps:
    """Images and analyses that were deleted at or before that moment, with all that hangs on them.

    The caller makes sure that none of them can be restored any more.
    """
    image_due = Image.deleted_at <= before
    with_image = Analysis.image_id.in_(select(Image.id).where(image_due))
    analysis_due = or_(Analysis.deleted_at <= before, with_image)
    for analysis_id in _all(select(Analysis.id).where(analysis_due).order_by(Analysis.id)):
        yield from _purge_analysis(analysis_id, analysis_due, storage, dry_run)
    for image_id in _all(select(Image.id).where(image_due).order_by(Image.id)):
        yield from _purge_image(image_id, image_due, storage, dry_run)


def _purge_analysis(analysis_id: UUID, due: ColumnElement[bool], storage: Storage, dry_run: bool) -> Steps:
    this = Analysis.id == analysis_id
    held = select(Analysis).where(this, due).with_for_update(of=Analysis)
    analysis = db.session.scalar(held)
    while (
        analysis
        and not dry_run
        and _delete_some(Annotation, Annotation.id, Annotation.analysis_id == analysis_id)
    ):
        yield None
        analysis = db.session.scalar(held)
    if analysis is None:
        return
    said = f"analysis {analysis_id}, {title_of(analysis)}"
    if not dry_run:
        _record_purged(analysis, analysis.image.project_id)
        _execute(update(Analysis).where(Analysis.retry_of_id == analysis_id).values(retry_of_id=None))
        _execute(delete(Analysis).where(this))
    yield said
    if not dry_run:
        _delete_files(storage, f"ml_outputs/{analysis_id}/", f"{RENDERS}{analysis_id}/")


def _purge_image(image_id: UUID, due: ColumnElement[bool], storage: Storage, dry_run: bool) -> Steps:
    this = Image.id == image_id
    image = db.session.scalar(select(Image).where(this, due).with_for_update())
    if image is None:
        return
    said, path = f"image {image_id}, {title_of(image)}", image.storage_path
    if not dry_run:
        _record_purged(image, image.project_id)
        _execute(delete(Image).where(this))
    yield said
    if not dry_run:
        storage.delete([path])
        _delete_files(storage, f"renders/images/{image_id}/")


def _record_purged(row: Image | Analysis, project_id: UUID) -> None:
    before = {"name": title_of(row), "deleted_at": row.deleted_at.isoformat() if row.deleted_at else None}
    action = "image.purged" if isinstance(row, Image) else "analysis.purged"
    audit.record(SYSTEM, action, row, before=before, project_id=project_id)


def _delete_files(storage: Storage, *places: str) -> None:
    for place in places:
        storage.delete([found.key for found in storage.listed(place)])


# --- what nobody will ask for ------------------------------------------------------------------------------------


def abandoned_uploads(before: datetime, storage: Storage, *, dry_run: bool) -> Steps:
    """Artifacts of analyses that ended before then, of which nobody wrote down what came: nobody looked at that end, or
    they came after it. What is there is written down now and stays; of what is not there, the row goes.

    No upload can be under way any more if `before` is longer ago than a signed address lives.
    """
    written = 0
    for page in _unwritten(before):
        found = artifacts.look_up((row.storage_path for row in page), storage)
        for row in page:
            if thing := found.get(row.storage_path):
                written += 1
                if not dry_run:
                    artifacts.write_down_late(row.id, thing)
        yield None
        for row in page:
            if row.storage_path not in found:
                if not dry_run:
                    _forget(row.id, row.storage_path, row.project_id)
                yield f"upload {row.storage_path}"
    if written:
        yield f"{written} upload{'' if written == 1 else 's'} found and written down"


def _unwritten(before: datetime) -> Iterator[Sequence[Row[Any]]]:
    """Pages of them, along the key of the artifacts, so that each row is read once."""
    ended = and_(Analysis.completed_at <= before, Analysis.deleted_at.is_(None))
    wanted = select(Artifact.id, Artifact.storage_path, Image.project_id, ended.label("ended"))
    wanted = wanted.join(Artifact.analysis).join(Analysis.image).where(Artifact.etag.is_(None))
    page = _rows(wanted.order_by(Artifact.id).limit(PAGE))
    while page:
        yield [row for row in page if row.ended]
        page = _rows(wanted.where(Artifact.id > page[-1].id).order_by(Artifact.id).limit(PAGE))


def _forget(artifact_id: UUID, path: str, project_id: UUID) -> None:
    """Unless somebody wrote down meanwhile what came."""
    artifact = db.session.get(Artifact, artifact_id, with_for_update=True)
    if artifact is not None and artifact.etag is None:
        before = {"storage_path": path}
        audit.record(SYSTEM, "artifact.swept", artifact, before=before, project_id=project_id)
        _execute(delete(Artifact).where(Artifact.id == artifact_id))


def lost_files(before: datetime, unknown_before: datetime, storage: Storage, *, dry_run: bool) -> Steps:
    """Files that belong to no row: last changed before `unknown_before`, those of images that were never written down
    and of what was purged while the storage was away; last changed before `before`, which may be later, pictures of
    annotations and states that analyses no longer have.

    Raises Conflict when there is no image in the database, or most of those in the storage belong to no row: then this
    is the storage of another database, or the rows have yet to be restored.
    """
    yield from _refuse_anothers(storage)
    for place, kind in PLACES:
        for some in _batches(_folders(storage, place), FOLDERS):
            for name, keys in _lost(dict(some), place, kind, before, unknown_before):
                if not dry_run:
                    storage.delete(keys)
                yield f"{len(keys)} file{'' if len(keys) == 1 else 's'} of {place}{name}"
            yield None
    if partial := storage.clear_partial(before, dry_run=dry_run):
        yield f"{partial} half-written file{'' if partial == 1 else 's'}"


def _folders(storage: Storage, place: str) -> Iterator[tuple[str, list[ListedObject]]]:
    """What is called by the id of a row, and the files there."""
    for name, files in groupby(storage.listed(place), lambda found: _below(place, found)):
        if _FOLDER.fullmatch(name):
            yield name, list(files)


def _below(place: str, found: ListedObject) -> str:
    return found.key.removeprefix(place).partition("/")[0]


def _refuse_anothers(storage: Storage) -> Steps:
    empty = not _all(select(Image.id).limit(1))
    if empty and any(True for place, _ in PLACES for _ in _folders(storage, place)):
        raise Conflict("The storage has files, and the database no image. Nothing may be removed.")
    lost = living = 0
    for some in _batches(_folders(storage, "images/"), ROWS // 10):
        known = len(_all(select(Image.id).where(Image.id.in_([UUID(name) for name, _ in some]))))
        lost, living = lost + len(some) - known, living + known
        yield None
    if lost > max(living, FEW):
        raise Conflict(
            f"The storage has {lost} images that belong to no row, and {living} that do. If it is that of another "
            "database, nothing may be removed from it."
        )


def _lost(
    folders: dict[str, list[ListedObject]],
    place: str,
    kind: Kind,
    before: datetime,
    unknown_before: datetime,
) -> list[tuple[str, list[str]]]:
    """The names of folders, each with the keys of what is lost in it."""
    ids = [UUID(name) for name in folders]
    revision: ColumnElement[int] = Analysis.revision.expression if kind is Analysis else literal(0)
    statement = select(kind.id, revision.label("revision")).where(kind.id.in_(ids))
    living = {str(row.id): row.revision for row in _rows(statement)}
    lost = []
    for name, files in folders.items():
        since = before if name in living else unknown_before
        old = [found.key for found in files if found.modified_at <= since]
        if name in living:
            old = _outlived(old, living[name]) if place == RENDERS else []
        lost += [(name, old)] if old else []
    return lost


def _outlived(keys: list[str], revision: int) -> list[str]:
    """Of what is kept of an analysis at this revision: pictures of annotations that it has no longer, and snapshots of
    earlier revisions."""
    of_annotations, lost = {}, []
    for key in keys:
        name = key.rpartition("/")[2]
        if match := _OF_ANNOTATION.fullmatch(name):
            of_annotations[key] = UUID(match[1])
        elif (match := _SNAPSHOT.fullmatch(name)) and int(match[1]) < revision:
            lost.append(key)
    living: set[UUID] = set()
    for some in _batches(sorted(set(of_annotations.values())), ROWS // 10):
        living.update(_all(select(Annotation.id).where(Annotation.id.in_(some))))
    return lost + [key for key, annotation_id in of_annotations.items() if annotation_id not in living]


def used_nonces(moment: datetime, *, dry_run: bool) -> Steps:
    """What was remembered of signatures that would be too old by now."""
    expired = UsedNonce.expires_at < moment
    (number,) = _all(select(func.count()).select_from(UsedNonce).where(expired))
    if not dry_run:
        while _delete_some(UsedNonce, tuple_(UsedNonce.scope, UsedNonce.value), expired):
            yield None
    if number:
        yield f"{number} used nonce{'' if number == 1 else 's'}"


def webhook_log(moment: datetime, *, dry_run: bool) -> Steps:
    """Webhooks that were delivered or given up before that moment."""
    ended = webhooks.ended_before(moment)
    number = db.session.scalar(select(func.count()).select_from(WebhookDelivery).where(ended)) or 0
    if not dry_run:
        while _delete_some(WebhookDelivery, WebhookDelivery.id, ended):
            yield None
    if number:
        yield f"{number} webhook{'' if number == 1 else 's'}"


def exports(moment: datetime, storage: Storage, *, dry_run: bool) -> Steps:
    """Kept exports whose time is over by then, with their files."""
    over = Export.expires_at <= moment
    for export_id in _all(select(Export.id).where(over).order_by(Export.id)):
        export = db.session.scalar(select(Export).where(Export.id == export_id, over).with_for_update())
        if export is None:
            continue
        said = f"export {export_id}, {export.filename}"
        if not dry_run:
            kept_exports.forget(export, "export.purged", by=SYSTEM)
        yield said
        if not dry_run:
            _delete_files(storage, f"{EXPORTS}{export_id}/")


# --- statements --------------------------------------------------------------------------------------------------


def _all(statement: Executable) -> list[Any]:
    """The one column of all rows."""
    return [row[0] for row in _rows(statement)]


def _rows(statement: Executable) -> Sequence[Row[Any]]:
    """In a transaction of its own, which is over and kept nobody from writing."""
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        return connection.execute(statement).all()


def _delete_some(table: type[Any], key: Any, which: ColumnElement[bool]) -> bool:
    """Deletes at most ROWS of them; whether there may be more."""
    columns = key.clauses if hasattr(key, "clauses") else [key]
    some = select(*columns).where(which).limit(ROWS)
    return _execute(delete(table).where(key.in_(some))) >= ROWS


def _execute(statement: Any) -> int:
    """How many rows it changed; rows that the session holds do not notice."""
    result: Any = db.session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
