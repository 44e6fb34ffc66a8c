"""Ten thousand cells that were made to break a CSV file or to run in a spreadsheet: each comes back as it was."""

import csv
import io
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from app.exports.csv_file import FORMULA_STARTS
from app.extensions import db
from app.models import Analysis, Annotation
from app.models.columns import new_id
from tests.cast import Person

ROWS = 2500
STARTS = (*FORMULA_STARTS, "''", "\n", '"', '"=', ",", " ", "\ufeff", "=HYPERLINK(", "\u202e", "")
PARTS = "=+-@\t\r\n,;\"' |!\\#é葉\x01\x1b\u2028\u0085\U0001f343a0"


def hostile(count: int) -> list[str]:
    chance = random.Random(6)
    made = []
    for n in range(count):
        rest = "".join(chance.choice(PARTS) for _ in range(chance.randrange(12)))
        made.append(f"{STARTS[n % len(STARTS)]}{rest}{n}")
    return made


def back(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_ten_thousand_cells(app: Flask, analysis: Analysis, viewer: Person, project: Any, many: bool) -> None:
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
    path = f"/api/projects/{project.id}/export" if many else f"/api/analyses/{analysis.id}/export"
    text = viewer.api("GET", f"{path}?format=csv").data.decode()
    read = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert len(read) == ROWS
    columns = ("class_name", "storage_path", "client_id", "unit")
    for row, sent in zip(read, rows, strict=True):
        found = [row[name] for name in columns]
        unit: Any = sent["data"]
        assert [back(cell) for cell in found] == [*(sent[name] for name in columns[:3]), unit["unit"]]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in found)
        assert row["vmin"] == "-1.5", "a number stays one"
    # what csv.writer makes of the same cells, to the byte
    again = io.StringIO()
    csv.writer(again, lineterminator="\r\n").writerows(csv.reader(io.StringIO(text, newline="")))
    assert again.getvalue() == text
