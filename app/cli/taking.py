"""What an import does with one image: the annotations that a file has for it become those of an analysis."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any
from uuid import UUID

from flask import current_app

from app import access, importers, storage
from app.cli.along import Along
from app.cli.places import Place
from app.errors import InvalidPayload
from app.extensions import db
from app.geometry import Frame
from app.importers.base import Found, Json, Told
from app.models import SYSTEM, Analysis, Image, Role, Status
from app.models.columns import new_id
from app.schemas.analyses import CreateAnalysis, Finalize
from app.schemas.annotations import Bulk
from app.schemas.base import load
from app.schemas.receipts import notes_to_keep, source_of
from app.services import analyses, annotations, leases

UNKNOWN = "unknown"  # the version of a model of which none is told
OUTCOME = ("status", "error_message")
OTHER_MODEL = "is not the model that was given: its version, parameters and provenance are not taken"
Read = Callable[[importers.Target], Found]


@dataclass(frozen=True)
class Content:
    """A file as it was read: its size in bytes, and the batch that its annotations are named after.

    `about` are the fields of a new analysis that it has for this image; `places` are where its artifacts may lie.
    """

    read: Read
    about: Callable[[importers.Target], Mapping[str, Any]]
    size: int
    batch: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class How:
    """How a file is read and its annotations are stored, as the command's options say.

    `artifacts` is where the files of artifacts lie before where the file itself has them.
    """

    format: str
    mode: str = "append"
    skips: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    called: str | None = None
    keypoints: int | None = None
    normalized: bool = False
    tracks: bool = False
    dry_run: bool = False
    artifacts: tuple[Place, ...] = ()

    @property
    def of_reading(self) -> list[Any]:
        """On what it depends what is read."""
        told = [self.format, sorted(self.names.items()), self.called, self.keypoints, self.normalized]
        return [*told, "tracks"] if self.tracks else told  # so that older imports are found again

    @property
    def ignored(self) -> list[str]:
        """The options that were given and that the format does not read."""
        given = (name for name in importers.READ_BY if getattr(self, name) not in (None, False, {}))
        return importers.unread(self.format, given)


@dataclass(frozen=True)
class Taken:
    analysis: Analysis
    counts: Mapping[str, int]
    bulk: Bulk


def batch_of(*bodies: bytes) -> str:
    digest = hashlib.sha256()
    for body in bodies:
        digest.update(body)
    return digest.hexdigest()[:32]


def content_of(body: bytes, format: str, places: tuple[Place, ...] = ()) -> Content:
    """A file that is read for one image. Raises MalformedRequest."""
    importer = importers.FORMATS[format]
    parsed = importer.parse(body)
    about = importer.about or (lambda *_: {})
    return Content(
        lambda target: importer.read(parsed, target),
        lambda target: about(parsed, target),
        len(body),
        batch_of(body),
        places,
    )


def into_analysis(analysis_id: UUID, content: Content, how: How) -> Taken:
    analysis = access.analysis_for(SYSTEM, analysis_id, Role.EDITOR)
    bulk = _read(_target(analysis.image, analysis_id, how), content, how)
    return Taken(analysis, _stored(analysis, bulk, content, how), bulk)


def into_new(image_id: UUID, content: Content, how: How, wanted: Mapping[str, Any], part: str = "") -> Taken:
    """An analysis of its own, which is ended; or the one that the same made before, which has all of it already.

    `wanted` are the model and the group, before what the file has; `part` is what of the file it is. One that was made
    before stays in its group. The files that its annotations refer to come along. Raises InvalidPayload where neither
    says what the model is.
    """
    image = access.image_for(SYSTEM, image_id, Role.EDITOR)
    given = {name: value for name, value in wanted.items() if value is not None}
    target = _target(image, new_id(), how)
    facts, told = _facts(content.about(target), given)
    if "model_name" not in facts | given:
        raise InvalidPayload("The file does not say of which model it is: name it with --model.")
    along = Along((*how.artifacts, *content.places))
    target = replace(target, facts=frozenset(facts.keys() - given.keys()), artifacts=along)
    new = {"model_version": UNKNOWN, "status": Status.COMPLETED.value, **facts, **given}
    bulk = _read(target, content, how, told)
    along.keep({(item.values["storage_path"] or "").rpartition("/")[2] for item in bulk.items})
    new["external_job_id"] = _job(image_id, new, content, how, part, along)
    made = analyses.made_by(new["external_job_id"])
    if made is None:
        return _made(image_id, target.analysis_id, new, bulk, content, how, along)
    if made.group_id != new.get("group_id"):
        told.append(Told("group_id", f"was made before and stays in {_group(made.group_id)}"))
        new["group_id"] = made.group_id
    if told or along.files:  # whose paths are those of the analysis
        bulk = _read(replace(target, analysis_id=made.id), content, how, told)
    return _made(image_id, target.analysis_id, new, bulk, content, how, Along(()))


def _job(image_id: UUID, new: Mapping[str, Any], content: Content, how: How, part: str, along: Along) -> str:
    """By which the same is found again: without the files that were not there before it is another."""
    said = [str(image_id), {**new, "group_id": None}, content.batch, part, how.of_reading]
    said += [sorted(along.files)] if along.files else []
    return "import-" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _made(
    image_id: UUID,
    analysis_id: UUID,
    new: Mapping[str, Any],
    bulk: Bulk,
    content: Content,
    how: How,
    along: Along,
) -> Taken:
    """Put first, then one transaction; `analysis_id` is that of a new one."""
    values, _ = load(CreateAnalysis, new)
    ending, _ = load(Finalize, {name: new[name] for name in OUTCOME if name in new})
    with along.put(analysis_id, None if how.dry_run else storage.current()) as found:
        analysis, is_new = analyses.create(
            access.image_for(SYSTEM, image_id, Role.EDITOR),
            values,
            by=SYSTEM,
            limit=current_app.config["ML_MAX_ANALYSES_PER_IMAGE"],
            models=current_app.config["ML_ALLOWED_MODELS"],
            status=Status.PROCESSING,
            analysis_id=analysis_id,
        )
        if is_new:
            along.announce(analysis)
        counts = _stored(analysis, bulk, content, how)
        analyses.finalize(analysis, **ending, found=found, by=SYSTEM, proof=_proof())
    return Taken(analysis, counts, bulk)


def _facts(about: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Json, list[Told]]:
    """What the file says of an analysis as far as a new one has it too, and what is to be said of the rest.

    Its status is that it failed, or it is not there.
    """
    facts, told = dict(about), []
    status = facts.get("status", Status.COMPLETED)
    if status != Status.FAILED:
        facts = {name: value for name, value in facts.items() if name not in OUTCOME}
        if status != Status.COMPLETED:
            told.append(Told("status", f"is {status!s:.40}, and the new analysis is completed"))
    if given.get("model_name") not in (None, facts.get("model_name")) and "model_name" in facts:
        facts = {name: value for name, value in facts.items() if name in OUTCOME}
        told.append(Told("model_name", OTHER_MODEL))
    return facts, told


def _group(name: str | None) -> str:
    return "no group" if name is None else f"the group {name}"


def _target(image: Image, analysis_id: UUID, how: How) -> importers.Target:
    return importers.Target(
        analysis_id=analysis_id,
        image_id=image.id,
        filename=image.filename,
        frame=Frame(image.width, image.height),
        names=how.names,
        called=how.called,
        keypoints=how.keypoints,
        normalized=how.normalized,
        tracks=how.tracks,
    )


def _read(target: importers.Target, content: Content, how: How, told: Iterable[Told] = ()) -> Bulk:
    db.session.rollback()  # nothing is held while the file is read
    bulk = importers.load_found(
        chain(told, content.read(target)),
        how.format,
        target,
        size=content.size,
        mode=how.mode,
        batch=content.batch,
        at_most=current_app.config["ML_MAX_BULK_ANNOTATIONS"],
        skips=how.skips,
    )
    return replace(bulk, ignored=[*how.ignored, *bulk.ignored])


def _stored(analysis: Analysis, bulk: Bulk, content: Content, how: How) -> Mapping[str, int]:
    if analysis.state.is_terminal and not bulk.items:  # nothing, and it has been said before
        return dict.fromkeys(("inserted", "unchanged", "updated", "removed"), 0) | {
            "total": analysis.annotation_count
        }
    counts, _ = annotations.store_bulk(
        analysis,
        bulk.items,
        bulk.mode,
        batch=content.batch,
        notes=notes_to_keep(bulk),
        dry_run=False,  # which is undone as a whole
        by=SYSTEM,
        proof=_proof(),
        source=source_of(bulk),
    )
    return counts


def _proof() -> leases.Proof:
    return leases.Proof(None, current_app.config["SECRET_KEY"])
