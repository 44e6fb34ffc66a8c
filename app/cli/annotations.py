"""`flask annotations`: a file of another tool as the annotations of an analysis."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask import current_app
from flask.cli import AppGroup
from marshmallow import ValidationError

from app import access, importers
from app.cli.outcome import Refused, done
from app.errors import LoupeError, PayloadTooLarge
from app.extensions import db
from app.geometry import Frame
from app.importers.query import names_of
from app.models import SYSTEM, Analysis, Image, Role, Status
from app.models.columns import new_id
from app.schemas.analyses import CreateAnalysis
from app.schemas.annotations import MODES, Bulk
from app.schemas.base import load
from app.schemas.receipts import notes_to_keep, said_of
from app.services import analyses, annotations, leases

READ_BY = ("format", "names", "called", "keypoints", "normalized")  # options on which what is read depends
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

commands = AppGroup("annotations", help="Take annotations from files.")


@commands.command("import")
@click.argument("named", nargs=-1, required=True, metavar="[ANALYSIS_ID] FILE")
@click.option("--format", type=click.Choice(list(importers.FORMATS)), required=True)
@click.option("--image", "image_id", type=click.UUID, help="Make an analysis of this image, and finalize it.")
@click.option("--model", help="With --image: the model's name.")
@click.option("--version", default="unknown", show_default=True, help="With --image: the model's version.")
@click.option(
    "--names",
    type=FILE,
    help="Class names, one a line or as JSON, for formats that have numbers only.",
)
@click.option("--called", help="What the file calls the image, if neither by its file name nor its id here.")
@click.option(
    "--normalized", is_flag=True, help="The file's coordinates go from 0 to 1, if it does not say so."
)
@click.option("--keypoints", type=click.IntRange(1), help="How many keypoints a line of `yolo` has.")
@click.option("--mode", type=click.Choice(MODES), default="append", show_default=True)
@click.option("--dry-run", is_flag=True, help="Check everything and say the same, but store nothing.")
@click.option("--skip-invalid", is_flag=True, help="Store what is valid, and name the rest.")
def import_annotations(
    named: tuple[str, ...], image_id: UUID | None, model: str | None, version: str, **how: Any
) -> None:
    """Take the annotations of FILE into the analysis ANALYSIS_ID, or with --image into a new one.

    The same command again changes nothing: it finds what it stored, and the analysis that it made.
    """
    *ids, file = named
    if len(ids) != (image_id is None):
        raise click.UsageError("Name either an analysis or, with --image, an image; and then one file.")
    if image_id is not None and not model:
        raise click.UsageError("With --image, --model is needed.")
    analysis_id: UUID | None = click.UUID.convert(ids[0], None, None) if ids else None
    try:
        body = _content(FILE.convert(file, None, None))
        image = _image(analysis_id, image_id)
        batch = hashlib.sha256(body).hexdigest()[:32]
        bulk = _load(body, batch, image, analysis_id or new_id(), how)
        wanted = {"model_name": model, "model_version": version}
        analysis = _analysis(analysis_id) if analysis_id else _made(image, wanted, batch, how)
        counts, _ = annotations.store_bulk(
            analysis,
            bulk.items,
            bulk.mode,
            batch=batch,
            notes=notes_to_keep(bulk),
            dry_run=how["dry_run"],
            by=SYSTEM,
            proof=_proof(),
        )
        if image_id and not how["dry_run"]:
            # an artifact that the file names cannot be there yet
            analyses.finalize(analysis, Status.COMPLETED, None, None, {}, by=SYSTEM, proof=_proof())
    except LoupeError as error:
        raise Refused(error) from None
    said = [*_told(counts, bulk)]
    if how["dry_run"]:
        db.session.rollback()
        done("\n".join(["Nothing is stored, as this is a dry run.", *said]))
        return
    address = f"{current_app.config['PUBLIC_URL']}/images/{image.id}?analysis={analysis.id}"
    done("\n".join([f"Analysis {analysis.id}", *said, f"Shown at {address}"]))


def _content(file: Path) -> bytes:
    largest = current_app.config["MAX_REQUEST_BYTES"]
    if file.stat().st_size > largest:
        raise PayloadTooLarge(f"The file has more than {largest} bytes.")
    return file.read_bytes()


def _analysis(analysis_id: UUID) -> Analysis:
    return access.analysis_for(SYSTEM, analysis_id, Role.EDITOR)


def _image(analysis_id: UUID | None, image_id: UUID | None) -> Image:
    if analysis_id is not None:
        return _analysis(analysis_id).image
    assert image_id is not None
    return access.image_for(SYSTEM, image_id, Role.EDITOR)


def _load(body: bytes, batch: str, image: Image, analysis_id: UUID, how: dict[str, Any]) -> Bulk:
    target = importers.Target(
        analysis_id=analysis_id,
        image_id=image.id,
        filename=image.filename,
        frame=Frame(image.width, image.height),
        names=_names(how["names"]),
        called=how["called"],
        keypoints=how["keypoints"],
        normalized=how["normalized"],
    )
    db.session.rollback()  # nothing is held while the file is read
    return importers.load_file(
        body,
        how["format"],
        target,
        mode=how["mode"],
        batch=batch,
        at_most=current_app.config["ML_MAX_BULK_ANNOTATIONS"],
        skips=how["skip_invalid"],
    )


def _names(file: Path | None) -> dict[str, str]:
    try:
        return names_of(file.read_text(encoding="utf-8")) if file else {}
    except (ValidationError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="--names") from None


def _made(image: Image, wanted: dict[str, Any], batch: str, how: dict[str, Any]) -> Analysis:
    """A new analysis, or the one that the same command made before."""
    said = [str(image.id), wanted, batch, {name: str(how[name]) for name in READ_BY}]
    job = "import-" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    values, _ = load(CreateAnalysis(), wanted | {"external_job_id": job})
    analysis, _ = analyses.create(
        image,
        values,
        by=SYSTEM,
        limit=current_app.config["ML_MAX_ANALYSES_PER_IMAGE"],
        models=current_app.config["ML_ALLOWED_MODELS"],
        status=Status.PROCESSING,
    )
    return analysis


def _proof() -> leases.Proof:
    return leases.Proof(None, current_app.config["SECRET_KEY"])


def _told(counts: Mapping[str, int], bulk: Bulk) -> Iterator[str]:
    """The receipt as lines to read."""
    yield ", ".join(f"{number} {name}" for name, number in counts.items())
    said = said_of(bulk)
    for one in said.get("skipped", ()):
        for fault in one["errors"]:
            yield f"refused: {one['place']}: {fault['field']} {fault['reason']}"
    if "normalised" in said:
        kinds = Counter(note["what"] for one in said["normalised"] for note in one["notes"])
        listed = ", ".join(f"{kind} {number}" for kind, number in kinds.items())
        yield f"normalised: {said['normalised_count']} ({listed} in the first {len(said['normalised'])})"
    for name in said.get("ignored", ()):
        yield f"ignored: {name}"
    file = said["file"]
    for kind in ("left_out", "told"):
        for entry in file.get(kind, ()):
            yield f"{kind.replace('_', ' ')}: {entry['count']} × {entry['what']} ({', '.join(entry['places'])})"
    for entry in file.get("extra", ()):
        yield f"kept in data.extra: {entry['count']} × {entry['key']}"
    for kind in ("left_out", "told", "extra"):
        if (more := file.get(f"{kind}_count", 0) - len(file.get(kind, ()))) > 0:
            yield f"{kind.replace('_', ' ')}: {more} more that are not listed"
