"""Files of many images: for each that the project has, an analysis, all of them in one group."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from flask import current_app
from sqlalchemy.exc import OperationalError

from app import access, importers
from app.cli.places import Place
from app.cli.receipts import Report, receipt_of
from app.cli.sources import Source, sources
from app.cli.taking import UNKNOWN, Content, How, batch_of, content_of, into_new
from app.errors import DatabaseUnavailable, LoupeError
from app.extensions import db
from app.geometry import Frame
from app.importers.base import Refused, Taken
from app.importers.matching import Images, rivals
from app.importers.reading import MAX_LISTED
from app.models import SYSTEM, Role
from app.models.columns import new_id
from app.schemas.analyses import CreateAnalysis
from app.schemas.base import load
from app.services import images


class Piece(NamedTuple):
    """What a file says of one image: a part of it or all, and what reads it. The names are those of a Part.

    Several of the same image are taken only where `known` is the same: the names of a part, the file that is whole.
    """

    source: str
    names: tuple[str, ...]
    bare: bool
    key: str
    content: Callable[[], Content]
    known: tuple[str, ...]

    @property
    def place(self) -> dict[str, str]:
        called = next((name for name in self.names if PurePosixPath(name).suffix), self.names[0])
        return {"source": self.source, "called": called}


def group_named(paths: Sequence[Path]) -> str:
    """The name of the file or folder, of several files that of the folder of the first."""
    first = paths[0].resolve()
    alone = first.name if first.is_dir() else first.stem
    return alone if len(paths) == 1 else first.parent.name or alone


def import_into_project(
    project_id: UUID,
    paths: Sequence[Path],
    how: How,
    wanted: Mapping[str, Any],
    report: Report,
    *,
    dataset: bytes | None,
) -> bool:
    """Whether something was taken, and nothing refused that should not be skipped. Each image is kept at once.

    `wanted` is the model and the group. Raises LoupeError when nothing at all can be imported.
    """
    access.project_for(SYSTEM, project_id, Role.EDITOR)
    told = {name: value for name, value in wanted.items() if value is not None}
    load(CreateAnalysis, {"model_name": UNKNOWN, "model_version": UNKNOWN, **told})
    largest = current_app.config["MAX_REQUEST_BYTES"]
    with ExitStack() as opened:
        there = Images(images.filenames(project_id))
        found = sources(paths, importers.FORMATS[how.format].endings, largest, opened)
        for pieces in _each_file(found, how, dataset, report):
            for piece, image_id in _matched(there, pieces, how, report):
                _take(piece, image_id, how, wanted, report)
    group = urlencode({"group_id": wanted["group_id"]})
    address = f"{current_app.config['PUBLIC_URL']}/projects/{project_id}/group?{group}"
    report.total(dry_run=how.dry_run, group_id=wanted["group_id"], shown_at=address)
    faulty = report.kinds["refused"] or (report.faults and not how.skips)
    return bool(report.kinds["image"]) and not faulty


def _each_file(
    found: Iterator[Source], how: How, dataset: bytes | None, report: Report
) -> Iterator[list[Piece]]:
    """The pieces of each file of many images; those that are of one image each come together, and last."""
    alone: list[Piece] = []
    splits = importers.FORMATS[how.format].split is not None
    for source in found:
        if source.fault is not None:
            report.refused(source.fault, source=source.name)
            continue
        if source.read is None:
            report.add("other", source=source.name)
            continue
        try:
            pieces = _pieces(source, source.read(), how, dataset, report) if splits else None
        except LoupeError as error:
            report.refused(error, source=source.name)
            continue
        if pieces is None:
            named, read = (
                (PurePosixPath(source.name).stem,),
                partial(_content, source.read, how.format, source.places),
            )
            alone.append(Piece(source.name, named, True, "", read, known=(source.name,)))
        else:
            yield pieces
    yield alone


def _pieces(
    source: Source, body: bytes, how: How, dataset: bytes | None, report: Report
) -> list[Piece] | None:
    split = importers.split_file(body, how.format, dataset)
    if split is None:
        return None
    report.file(source.name, split.said)
    size, batch = len(body), batch_of(body, dataset or b"")
    return [
        Piece(
            source.name,
            part.names,
            part.bare,
            part.key,
            partial(_content_of, part, size, batch, source.places),
            part.names,
        )
        for part in split.parts
    ]


def _content_of(part: importers.Part, size: int, batch: str, places: tuple[Place, ...]) -> Content:
    return Content(part.read, lambda _: part.about, size, batch, places)


def _content(read: Callable[[], bytes], format: str, places: tuple[Place, ...]) -> Content:
    return content_of(read(), format, places)


def _matched(there: Images, pieces: list[Piece], how: How, report: Report) -> Iterator[tuple[Piece, UUID]]:
    """Each piece that is of one image and no other; of the others is said why they are not."""
    found = [(there.of(piece), piece.known) for piece in pieces]
    others = rivals(found)
    for number, piece in enumerate(pieces):
        ids = [str(image_id) for image_id in found[number][0]]
        if len(ids) == 1 and number not in others:
            yield piece, UUID(ids[0])
            continue
        left = partial(report.left, place=piece.place, annotations=_annotations_in(piece, how))
        if not ids:
            left("unmatched")
        elif len(ids) > 1:
            reason = f"several images of the project are called like this: {_listed(ids)}"
            left("ambiguous", reason=reason, image_ids=ids[:MAX_LISTED])
        else:
            reason = f"several are called like the image {ids[0]}: {_listed(others[number])}"
            left("ambiguous", reason=reason, image_ids=ids)


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:MAX_LISTED], *(["…"] if len(names) > MAX_LISTED else [])])


def _annotations_in(piece: Piece, how: How) -> int | None:
    """How many annotations, valid or not, are not taken of a piece that is of no image; None if it cannot be read."""
    target = importers.Target(
        new_id(),
        new_id(),
        piece.names[0],
        Frame(1, 1),
        names=how.names,
        keypoints=how.keypoints,
        normalized=how.normalized,
        tracks=how.tracks,
    )
    try:
        return sum(isinstance(one, Taken | Refused) for one in piece.content().read(target))
    except LoupeError:
        return None


def _take(piece: Piece, image_id: UUID, how: How, wanted: Mapping[str, Any], report: Report) -> None:
    """One transaction: what was cut off is taken when the command is run again."""
    try:
        receipt = receipt_of(into_new(image_id, piece.content(), how, wanted, piece.key))
        if how.dry_run:
            db.session.rollback()
        else:
            db.session.commit()
    except LoupeError as error:
        db.session.rollback()
        report.refused(error, **piece.place)
    except OperationalError as error:  # is locked, say: the next image may be taken
        db.session.rollback()
        report.refused(DatabaseUnavailable(f"The database did not store it: {error.orig}"), **piece.place)
    else:
        report.image(receipt, **piece.place)
