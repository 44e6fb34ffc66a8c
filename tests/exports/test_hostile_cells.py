"""Ten thousand cells that were made to break a CSV file or to run in a spreadsheet: each comes back as it was."""

import csv
import io
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect

from app import exports
from app.exports import Selection
from app.extensions import db
from app.models import Analysis, Annotation, Image, Project
from app.models.columns import new_id
from tests.cast import Person
from tests.factories import World

ROWS = 2500
# what Excel and LibreOffice may take for a formula: OWASP, CSV Injection
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
STARTS = (*FORMULAS, "'", "''", "'=", '"', '"=', ",", " ", "\ufeff", "=HYPERLINK(", "\u202e", "")
PARTS = "=+-@\t\r\n,;\"' |!\\#é葉\x01\x1b\u2028\u0085\U0001f343a0＝"


def hostile(count: int) -> list[str]:
    chance = random.Random(6)
    made = []
    for n in range(count):
        rest = "".join(chance.choice(PARTS) for _ in range(chance.randrange(12)))
        made.append(f"{STARTS[n % len(STARTS)]}{rest}{n}")
    return made


def back(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def rows_of(text: str) -> list[dict[str, str]]:
    """As it is opened again; and it is what csv.writer makes of the same cells, to the byte."""
    again = io.StringIO()
    csv.writer(again, lineterminator="\r\n").writerows(csv.reader(io.StringIO(text, newline="")))
    assert again.getvalue() == text
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


SENT = ("class_name", "storage_path", "client_id", "unit")


def export(app: Flask, analysis: Analysis, viewer: Person, project: Project, scope: str) -> str:
    paths = {
        "analysis": f"analyses/{analysis.id}/export?format=csv",
        "group": f"projects/{project.id}/export?format=csv&group_id=night",
        "project": f"projects/{project.id}/export?format=csv",
    }
    if scope in paths:
        return viewer.api("GET", f"/api/{paths[scope]}").data.decode()
    with app.app_context():
        selection, files = Selection(project_id=project.id), app.extensions["storage"]
        now = datetime.now(UTC)
        file = exports.of_selection(selection, "P", "csv", files, now, columns=("filename", "vmin", *SENT))
        return b"".join(file.chunks).decode()


@pytest.mark.parametrize("scope", ["analysis", "group", "project", "chosen columns"])
def test_ten_thousand_cells(
    app: Flask, world: World, image: Image, viewer: Person, project: Project, scope: str
) -> None:
    analysis = world.analysis(image, "completed", group_id="night", annotation_count=ROWS)
    cells = hostile(4 * ROWS)
    rows = [
        {
            "id": new_id(),
            "analysis_id": analysis.id,
            "annotation_type": "heatmap",
            "content_hash": "0" * 64,
            "created_at": datetime.now(UTC),
            "position": n,
            "class_name": cells[n],
            "storage_path": cells[n + ROWS],
            "client_id": cells[n + 2 * ROWS],
            "data": {"width": 1, "height": 1, "vmin": -1.5, "unit": cells[n + 3 * ROWS]},
        }
        for n in range(ROWS)
    ]
    with app.app_context():
        db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
    read = rows_of(export(app, analysis, viewer, project, scope))
    assert len(read) == ROWS
    for row, sent in zip(read, rows, strict=True):
        data: Any = sent["data"]
        assert [back(row[name]) for name in SENT] == [*(sent[name] for name in SENT[:3]), data["unit"]]
        assert row.pop("vmin") == "-1.5", "a number stays one"
        assert not any(cell.startswith(FORMULAS) for cell in row.values())
    if scope == "chosen columns":
        assert set(read[0]) == {"filename", *SENT}
    else:
        assert [json.loads(row["data_json"]) for row in read] == [row["data"] for row in rows]


@pytest.mark.parametrize("annotations", [True, False])
def test_cells_of_analyses(
    app: Flask, world: World, viewer: Person, project: Project, annotations: bool
) -> None:
    """One row each; what is said of an image and its analysis is text of strangers too."""
    names = (
        "filename",
        "model_name",
        "model_version",
        *(() if annotations else ("error_message", "external_job_id")),
    )
    cells = hostile(len(names) * len(STARTS))
    sent = [dict(zip(names, cells[n :: len(STARTS)], strict=True)) for n in range(len(STARTS))]
    image = world.image(project)
    with app.app_context():
        for one in sent:
            of_image = {**made_of(image), "filename": one["filename"]}
            db.session.execute(db.insert(Image).values(of_image))
            of_it = {name: text for name, text in one.items() if name != "filename"}
            db.session.add(Analysis(image_id=of_image["id"], status="failed", **of_it))
        db.session.execute(db.delete(Image).where(Image.id == image.id))
        db.session.commit()
    path = f"/api/projects/{project.id}/export?format=csv&annotations={int(annotations)}"
    read = rows_of(viewer.api("GET", path).data.decode())
    found = [{name: back(row[name]) for name in names} for row in read]
    assert sorted(found, key=str) == sorted(sent, key=str)
    assert not any(cell.startswith(FORMULAS) for row in read for cell in row.values())


def made_of(image: Image) -> dict[str, Any]:
    """The columns of another one like it."""
    columns = {column.key: getattr(image, column.key) for column in inspect(Image).column_attrs}
    return {**columns, "id": new_id()}
