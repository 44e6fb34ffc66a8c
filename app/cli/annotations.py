"""`flask annotations`: files of other tools as the annotations of analyses."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask import current_app
from flask.cli import AppGroup
from marshmallow import ValidationError

from app import importers
from app.cli.files import content
from app.cli.many_images import group_named, import_into_project
from app.cli.outcome import Refused, done
from app.cli.places import in_folder, place_at
from app.cli.receipts import Report, lines_of, printable, receipt_of
from app.cli.taking import How, content_of, into_analysis, into_new
from app.errors import LoupeError
from app.extensions import db
from app.importers.query import names_of
from app.schemas.annotations import MODES

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PLACE = click.Path(exists=True, path_type=Path)

commands = AppGroup("annotations", help="Take annotations from files.")


@commands.command("import")
@click.argument("named", nargs=-1, required=True, metavar="[ANALYSIS_ID] FILE…")
@click.option("--format", type=click.Choice(list(importers.FORMATS)), required=True)
@click.option("--project", "project_id", type=click.UUID, help="Make an analysis of each image of the files.")
@click.option("--image", "image_id", type=click.UUID, help="Make an analysis of this image, and finalize it.")
@click.option("--model", help="With --project or --image: the model's name; by default the file's.")
@click.option("--version", help="The model's version; unknown where neither this nor the file says it.")
@click.option("--group", help="With --project: the group of the analyses. By default called like the file.")
@click.option(
    "--dataset", type=FILE, help="With --project and coco-results: the dataset that has the images."
)
@click.option(
    "--artifacts",
    type=PLACE,
    help="With --project or --image: the folder or zip with the files that annotations of json and ndjson name.",
)
@click.option(
    "--names",
    type=FILE,
    help="Class names, one a line or as JSON, for formats that have numbers only.",
)
@click.option("--called", help="What the file calls the image, if neither by its file name nor its id here.")
@click.option(
    "--normalized", is_flag=True, help="The file's coordinates go from 0 to 1, if it does not say so."
)
@click.option("--tracks", is_flag=True, help="Lines of `yolo` end with the id of a track.")
@click.option("--keypoints", type=click.IntRange(1), help="How many keypoints a line of `yolo` has.")
@click.option("--mode", type=click.Choice(MODES), default="append", show_default=True)
@click.option("--dry-run", is_flag=True, help="Check everything and say the same, but store nothing.")
@click.option("--skip-invalid", is_flag=True, help="Store what is valid, and name the rest.")
@click.option("--json", "as_json", is_flag=True, help="Say it as JSON, an object a line.")
def import_annotations(
    named: tuple[str, ...],
    project_id: UUID | None,
    image_id: UUID | None,
    as_json: bool,
    dry_run: bool,
    **told: Any,
) -> None:
    """Take the annotations of FILE into the analysis ANALYSIS_ID, or into new analyses.

    With --image, of that image; with --project, of each of its images that the files name or are named after: several
    files, folders or zips of them.

    The same command again changes nothing: it finds what it stored, and the analyses that it made.
    """
    _refuse_mixed(named, project_id, image_id, told)
    how = How(
        format=told["format"],
        mode=told["mode"],
        skips=told["skip_invalid"],
        names=_names(told["names"]),
        called=told["called"],
        keypoints=told["keypoints"],
        normalized=told["normalized"],
        tracks=told["tracks"],
        dry_run=dry_run,
    )
    report = Report(as_json=as_json)
    wanted = {"model_name": told["model"], "model_version": told["version"]}
    try:
        if told["artifacts"]:
            opened = click.get_current_context().with_resource(ExitStack())
            how = replace(how, artifacts=(place_at(told["artifacts"], _largest(), opened),))
        if project_id is not None:
            paths = [PLACE.convert(name, None, None) for name in named]
            wanted["group_id"] = told["group"] or group_named(paths)
            dataset = _content(told["dataset"]) if told["dataset"] else None
            if not import_into_project(project_id, paths, how, wanted, report, dataset=dataset):
                raise click.exceptions.Exit(1)
        else:
            _import_one(named, image_id, how, wanted, report)
    except LoupeError as error:
        if not as_json:
            raise Refused(error) from None
        report.refused(error, **({} if project_id else {"source": named[-1]}))
        raise click.exceptions.Exit(1) from None


def _refuse_mixed(
    named: Sequence[str], project_id: UUID | None, image_id: UUID | None, told: dict[str, Any]
) -> None:
    """Raises UsageError for what does not go together."""
    if project_id is None and len(named) != (1 if image_id else 2):
        raise click.UsageError("Name either an analysis or, with --image, an image; and then one file.")
    if project_id and image_id:
        raise click.UsageError("Name either a project or an image.")
    if (project_id or image_id) and not (told["model"] or importers.FORMATS[told["format"]].about):
        raise click.UsageError("With --project or --image, --model is needed: such a file does not say it.")
    if project_id is None and (told["group"] or told["dataset"]):
        raise click.UsageError("--group and --dataset are for --project.")
    if project_id and told["called"]:
        raise click.UsageError("--called is for one image: with --project they are found by their names.")
    if told["artifacts"] and not (project_id or image_id):
        raise click.UsageError("--artifacts is for --project or --image.")
    if told["artifacts"] and told["format"] not in ("json", "ndjson"):
        raise click.UsageError("--artifacts is for json and ndjson.")
    if told["dataset"] and told["format"] != "coco-results":
        raise click.UsageError("--dataset is for coco-results.")


def _import_one(
    named: Sequence[str],
    image_id: UUID | None,
    how: How,
    wanted: dict[str, Any],
    report: Report,
) -> None:
    file = named[-1]
    path = FILE.convert(file, None, None)
    read = content_of(_content(path), how.format, (in_folder(path.parent, _largest()),))
    if image_id is not None:
        taken = into_new(image_id, read, how, wanted)
    else:
        taken = into_analysis(click.UUID.convert(named[0], None, None), read, how)
    said = receipt_of(taken)
    if how.dry_run:
        db.session.rollback()
    if report.as_json:
        db.session.commit()
        report.say("image", {"source": file, "dry_run": how.dry_run, **said})
    elif how.dry_run:
        done("\n".join(["Nothing is stored, as this is a dry run.", *map(printable, lines_of(said))]))
    else:
        lines = [f"Analysis {said['analysis_id']}", *lines_of(said), f"Shown at {said['shown_at']}"]
        done("\n".join(map(printable, lines)))


def _content(file: Path) -> bytes:
    return content(file, _largest())


def _largest() -> int:
    largest: int = current_app.config["MAX_REQUEST_BYTES"]
    return largest


def _names(file: Path | None) -> dict[str, str]:
    try:
        return names_of(file.read_text(encoding="utf-8")) if file else {}
    except (ValidationError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="--names") from None
