"""What an import does with one image: the annotations that a file has for it become those of an analysis."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from flask import current_app

from app import access, importers
from app.errors import InvalidPayload
from app.extensions import db
from app.geometry import Frame
from app.importers.base import Found
from app.models import SYSTEM, Analysis, Image, Role, Status
from app.models.columns import new_id
from app.schemas.analyses import CreateAnalysis
from app.schemas.annotations import Bulk
from app.schemas.base import load
from app.schemas.receipts import notes_to_keep, source_of
from app.services import analyses, annotations, leases

UNKNOWN = "unknown"  # the version of a model of which none is told
Read = Callable[[importers.Target], Found]


@dataclass(frozen=True)
class Content:
    """A file as it was read: its size in bytes, and the batch that its annotations are named after.

    `about` are the fields of a new analysis that it has for this image.
    """

    read: Read
    about: Callable[[importers.Target], Mapping[str, Any]]
    size: int
    batch: str


@dataclass(frozen=True)
class How:
    """How a file is read and its annotations are stored, as the command's options say."""

    format: str
    mode: str = "append"
    skips: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    called: str | None = None
    keypoints: int | None = None
    normalized: bool = False

    @property
    def of_reading(self) -> list[Any]:
        """On what it depends what is read."""
        return [self.format, sorted(self.names.items()), self.called, self.keypoints, self.normalized]


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


def content_of(body: bytes, format: str) -> Content:
    """A file that is read for one image. Raises MalformedRequest."""
    importer = importers.FORMATS[format]
    parsed = importer.parse(body)
    about = importer.about or (lambda *_: {})
    return Content(
        lambda target: importer.read(parsed, target),
        lambda target: about(parsed, target),
        len(body),
        batch_of(body),
    )


def into_analysis(analysis_id: UUID, content: Content, how: How) -> Taken:
    analysis = access.analysis_for(SYSTEM, analysis_id, Role.EDITOR)
    bulk = _read(_target(analysis.image, analysis_id, how), content, how)
    return Taken(analysis, _stored(analysis, bulk, content, how), bulk)


def into_new(image_id: UUID, content: Content, how: How, wanted: Mapping[str, Any], part: str = "") -> Taken:
    """An analysis of its own, which is ended; or the one that the same made before, which has all of it already.

    `wanted` are the model and the group, before what the file has; `part` is what of the file it is. Raises
    InvalidPayload where neither says what the model is.
    """
    image = access.image_for(SYSTEM, image_id, Role.EDITOR)
    target = _target(image, new_id(), how)
    facts = content.about(target)
    given = {name: value for name, value in wanted.items() if value is not None}
    if "model_name" in given:
        given.setdefault("model_version", UNKNOWN)  # that of the file is another model's
    elif "model_name" not in facts:
        raise InvalidPayload("The file does not say of which model it is: name it with --model.")
    wanted = {"model_version": UNKNOWN, **facts, **given}
    taken = frozenset(facts.keys() - given.keys())
    bulk = _read(replace(target, facts=taken), content, how)
    said = [str(image.id), wanted, content.batch, part, how.of_reading]
    job = "import-" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    values, _ = load(CreateAnalysis(), {**wanted, "external_job_id": job})
    analysis, _ = analyses.create(
        image,
        values,
        by=SYSTEM,
        limit=current_app.config["ML_MAX_ANALYSES_PER_IMAGE"],
        models=current_app.config["ML_ALLOWED_MODELS"],
        status=Status.PROCESSING,
    )
    counts = _stored(analysis, bulk, content, how)
    # an artifact that the file names cannot be there yet
    analyses.finalize(analysis, Status.COMPLETED, None, None, {}, by=SYSTEM, proof=_proof())
    return Taken(analysis, counts, bulk)


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
    )


def _read(target: importers.Target, content: Content, how: How) -> Bulk:
    db.session.rollback()  # nothing is held while the file is read
    return importers.load_found(
        content.read(target),
        how.format,
        target,
        size=content.size,
        mode=how.mode,
        batch=content.batch,
        at_most=current_app.config["ML_MAX_BULK_ANNOTATIONS"],
        skips=how.skips,
    )


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
