"""GET /api/analyses/{id}/export: an analysis as JSON or CSV."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.http import parse_options_header

from app import exports
from app.annotations import TYPES
from app.errors import StorageUnavailable
from app.exports.csv_file import cell as csv_cell
from app.extensions import db
from app.models import Analysis, Artifact, Image
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, fields_at_fault, finalize, store, upload

COLUMNS = [
    "annotation_id",
    "annotation_type",
    "class_name",
    "confidence",
    "storage_path",
    "ordering",
    "data_json",
    "created_at",
    "client_id",
]


def export(person: Person, analysis: Analysis, form: str = "json") -> Any:
    return person.api("GET", f"/api/analyses/{analysis.id}/export", query_string={"format": form})


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))


@pytest.fixture
def full(app: Flask, pipeline: Pipeline, analysis: Analysis) -> Analysis:
    """Completed, with an annotation of every type and two artifacts."""
    heatmap = upload(app, pipeline, analysis)
    upload(app, pipeline, analysis, "log", b"done\n")
    items = []
    for name, kind in TYPES.items():
        example = (
            {"x_min": 1.5, "y_min": 2, "x_max": 60, "y_max": 40} if name == "bounding_box" else kind.example
        )
        example = {"points": [[1, 1], [60, 2], [30, 40.25]]} if name == "polygon" else example
        example = {"keypoints": [{"x": 3, "y": 4, "name": "tip"}]} if name == "keypoint" else example
        items.append(
            {
                "annotation_type": name,
                "data": example,
                "class_name": f"class {name}",
                "confidence": 0.5,
                "client_id": name,
                **({"storage_path": heatmap} if name == "heatmap" else {}),
            }
        )
    items[0]["data"] = {**items[0]["data"], "shade": "dark"}
    store(pipeline, analysis, items)
    finalize(pipeline, analysis)
    return analysis


def test_who_may(
    client: LintClient,
    analysis: Analysis,
    viewer: Person,
    stranger: Person,
    admin: Person,
    pipeline: Pipeline,
) -> None:
    path = f"/api/analyses/{analysis.id}/export"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(pipeline.request("GET", path), 401, "scheme-not-allowed")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(viewer.api("GET", f"/api/analyses/{some_id()}/export"), 404, "not-found")
    check_problem(viewer.api("POST", path), 405, "method-not-allowed")
    for person in (viewer, admin):
        assert person.api("GET", path).status_code == 200


@pytest.mark.parametrize("form", ["xml", "", "JSON", "json ", "../csv"])
def test_other_formats_are_422(analysis: Analysis, viewer: Person, form: str) -> None:
    assert fields_at_fault(export(viewer, analysis, form)) == {"format"}


# --- JSON --------------------------------------------------------------------------------------------------------


def test_json_is_exactly_what_is_stored(full: Analysis, viewer: Person) -> None:
    answer = export(viewer, full)
    assert answer.headers["Content-Type"] == "application/json"
    detail = viewer.api("GET", f"/api/analyses/{full.id}").json
    log, heatmap = hashlib.sha256(b"done\n").hexdigest(), hashlib.sha256(picture(16, 12)).hexdigest()
    assert answer.json == {
        **detail,
        "schema_version": "1.0",
        "filename": viewer.api("GET", f"/api/images/{full.image_id}").json["filename"],
        "artifacts": [
            {
                "type": "heatmap",
                "path": f"ml_outputs/{full.id}/heatmap.png",
                "content_type": "image/png",
                "size": len(picture(16, 12)),
                "hash": heatmap,
                "etag": heatmap,
                "state": "present",
            },
            {
                "type": "log",
                "path": f"ml_outputs/{full.id}/log.txt",
                "content_type": "text/plain",
                "size": 5,
                "hash": log,
                "etag": log,
                "state": "present",
            },
        ],
    }
    assert detail["annotation_count"] == len(detail["annotations"]) == len(TYPES)
    assert detail["annotations"][0]["data"]["extra"] == {"shade": "dark"}


def test_nothing_said_is_valid_in_both_formats(analysis: Analysis, viewer: Person) -> None:
    answer = export(viewer, analysis)
    assert (answer.json["annotations"], answer.json["artifacts"]) == ([], [])
    assert answer.json["annotation_count"] == 0
    assert rows_of(export(viewer, analysis, "csv")) == []


def test_json_is_the_default(analysis: Analysis, viewer: Person) -> None:
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/export")
    assert answer.json == export(viewer, analysis).json


def test_what_was_exported_can_be_sent_again(
    world: World, image: Image, full: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    """Export, import, export: the same data, extra keys and all."""
    fields = ("annotation_type", "class_name", "confidence", "data", "ordering", "client_id")
    said = [entry for entry in export(viewer, full).json["annotations"] if not entry["storage_path"]]
    copy = world.analysis(image, "processing")
    store(pipeline, copy, [{name: entry[name] for name in fields} for entry in said])
    again = export(viewer, copy).json["annotations"]
    assert [{name: entry[name] for name in fields} for entry in again] == [
        {name: entry[name] for name in fields} for entry in said
    ]


# --- artifacts ---------------------------------------------------------------------------------------------------


def states(person: Person, analysis: Analysis) -> dict[str, str]:
    entries = export(person, analysis).json["artifacts"]
    return {entry["path"].rsplit("/", 1)[-1]: entry["state"] for entry in entries}


def test_artifacts_that_changed_or_went_missing_are_shown(app: Flask, full: Analysis, viewer: Person) -> None:
    recorded = export(viewer, full).json["artifacts"]
    storage = app.extensions["storage"]
    storage.put(f"ml_outputs/{full.id}/heatmap.png", b"another", "image/png")
    storage.delete([f"ml_outputs/{full.id}/log.txt"])
    assert states(viewer, full) == {"heatmap.png": "changed", "log.txt": "missing"}
    now_said = export(viewer, full).json["artifacts"]
    assert [entry["hash"] for entry in now_said] == [entry["hash"] for entry in recorded]


def test_artifacts_before_the_end(app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    upload(app, pipeline, analysis)
    wanted = {"artifact_type": "log"}
    assert pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).status_code == 200
    assert states(viewer, analysis) == {"heatmap.png": "present", "log.txt": "pending"}


def test_an_object_store_that_is_away_is_503(app: Flask, full: Analysis, viewer: Person) -> None:
    app.extensions["storage"] = Away()
    check_problem(export(viewer, full), 503, "storage-unavailable")


class Away:
    """A storage that cannot be reached."""

    def stat(self, key: str) -> None:
        raise StorageUnavailable

    def public_origin(self) -> None:
        return None


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_csv_has_the_columns_of_the_contract_first(full: Analysis, viewer: Person) -> None:
    answer = export(viewer, full, "csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    header = answer.data.decode().split("\r\n", 1)[0].split(",")
    assert header[:9] == COLUMNS
    assert header[9:13] == ["x_min", "y_min", "x_max", "y_max"]
    assert set(header[13:]) == {column for kind in TYPES.values() for column in kind.columns} - set(
        header[9:13]
    )
    assert len(set(header)) == len(header)


def test_csv_says_the_same_as_json(full: Analysis, viewer: Person) -> None:
    said, rows = export(viewer, full).json["annotations"], rows_of(export(viewer, full, "csv"))
    assert len(rows) == len(said)
    for entry, row in zip(said, rows, strict=True):
        assert json.loads(row["data_json"]) == entry["data"]
        assert float(row["confidence"]) == entry["confidence"]
        for column in ("annotation_type", "class_name", "storage_path", "created_at", "client_id"):
            assert row[column] == (entry[column] or "")
        flat = TYPES[entry["annotation_type"]].row(entry["data"])
        for column, value in flat.items():
            assert row[column] == ("" if value is None else str(value)), column


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "'quoted", "''", "=cmd|'/c calc'!A0"]
HARMLESS = ["a=1", "1-2", "a,b", 'say "x"', "é,葉", "#N/A", "=" * 0 + "x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_is_quoted(
    analysis: Analysis, viewer: Person, pipeline: Pipeline, text: str
) -> None:
    store(pipeline, analysis, [box(class_name=text)])
    [row] = rows_of(export(viewer, analysis, "csv"))
    assert row["class_name"] == "'" + text
    assert row["class_name"].removeprefix("'") == text
    assert export(viewer, analysis).json["annotations"][0]["class_name"] == text


def test_other_text_is_untouched(analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    store(pipeline, analysis, [box(class_name=text) for text in HARMLESS])
    assert [row["class_name"] for row in rows_of(export(viewer, analysis, "csv"))] == HARMLESS


def test_cells_of_a_type_and_client_ids_are_quoted_too(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    path = upload(app, pipeline, analysis)
    heatmap = {"width": 8, "height": 6, "unit": "=1+1", "vmin": -3.5, "vmax": -1e-7}
    sent = {"annotation_type": "heatmap", "data": heatmap, "storage_path": path, "client_id": "-x"}
    store(pipeline, analysis, [sent])
    [row] = rows_of(export(viewer, analysis, "csv"))
    assert (row["unit"], row["client_id"]) == ("'=1+1", "'-x")
    assert (row["vmin"], row["vmax"]) == ("-3.5", "-1e-07"), "numbers are not text"


def test_negative_numbers_are_untouched(analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    data = {"x_min": -2, "y_min": -1.5, "x_max": 4, "y_max": 5}
    store(pipeline, analysis, [{"annotation_type": "bounding_box", "data": data, "ordering": -7}])
    [row] = rows_of(export(viewer, analysis, "csv"))
    assert (row["x_min"], row["y_min"], row["ordering"]) == ("-2.0", "-1.5", "-7")


def test_lines_inside_cells_survive(analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    note = 'two\nlines, "quoted"\r\nand a tab\t'
    store(pipeline, analysis, [{"annotation_type": "custom", "data": {"note": note}}])
    [row] = rows_of(export(viewer, analysis, "csv"))
    assert json.loads(row["data_json"]) == {"note": note}


def test_every_cell_that_begins_like_a_formula_reads_back_exactly() -> None:
    for text in (*FORMULAS, *HARMLESS, "\tx", "\rx", "", "x"):
        cell = csv_cell(text)
        back = cell.removeprefix("'") if cell[:1] == "'" else cell
        assert back == text
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    for number in (-1, -1.5, 0, 7, None):
        assert csv_cell(number) is number


# --- the file name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("leaf-net", "leaf-net"),
        ("org/leaf net:2", "org-leaf net-2"),
        ("../../etc/passwd", "..-..-etc-passwd"),
        ('a"; filename="b', "a-; filename=-b"),
        ("naïve 葉", "naïve 葉"),
        ("a\\b|c*d?e<f>g", "a-b-c-d-e-f-g"),
        ("100%", "100%"),
    ],
)
def test_content_disposition(world: World, image: Image, viewer: Person, model: str, name: str) -> None:
    made = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    analysis = world.analysis(image, model_name=model, created_at=made)
    for form in ("json", "csv"):
        header = export(viewer, analysis, form).headers["Content-Disposition"]
        kind, options = parse_options_header(header)
        assert (kind, options["filename"]) == ("attachment", f"analysis_{name}_20260304_050607.{form}")
        assert header.isascii() and "\n" not in header


# --- streaming ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "csv"])
def test_streams_in_pages_with_no_transaction_open_between_them(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline, form: str
) -> None:
    number = 2 * exports.PAGE + 7
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(number)])
    with app.app_context():
        pool: Any = db.engine.pool
    answer = export(viewer, analysis, form)
    in_use, sizes = [], []
    for chunk in answer.iter_encoded():
        in_use.append(pool.checkedout())
        sizes.append(len(chunk))
    assert set(in_use) == {0}
    assert len(sizes) >= 3, "not in pages"
    assert max(sizes) < 0.6 * sum(sizes)
    # and whole, in order, without repeats
    again = export(viewer, analysis, form)
    ids = (
        [entry["client_id"] for entry in again.json["annotations"]]
        if form == "json"
        else [row["client_id"] for row in rows_of(again)]
    )
    assert ids == [f"c{n}" for n in range(number)]


@pytest.mark.parametrize("number", [exports.PAGE - 1, exports.PAGE, exports.PAGE + 1])
def test_around_the_size_of_a_page(
    analysis: Analysis, viewer: Person, pipeline: Pipeline, number: int
) -> None:
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(number)])
    answer = export(viewer, analysis).json
    assert len(answer["annotations"]) == answer["annotation_count"] == number
    assert len(rows_of(export(viewer, analysis, "csv"))) == number


def test_annotations_that_were_replaced_leave_no_trace(
    analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(3)])
    path = f"/api/analyses/{analysis.id}/annotations:bulk"
    answer = pipeline.post(path, {"annotations": [box(client_id="c1")], "mode": "replace"})
    assert answer.status_code == 200
    assert [row["client_id"] for row in rows_of(export(viewer, analysis, "csv"))] == ["c1"]


def test_head_sends_no_body(full: Analysis, viewer: Person) -> None:
    answer = viewer.api("HEAD", f"/api/analyses/{full.id}/export")
    assert (answer.status_code, answer.data) == (200, b"")


def test_the_queries_do_not_grow_with_the_artifacts(
    app: Flask,
    analysis: Analysis,
    viewer: Person,
    pipeline: Pipeline,
    count_queries: Callable[[], Any],
    world: World,
) -> None:
    with count_queries() as few:
        assert export(viewer, analysis).data
    for number in range(5):
        upload(app, pipeline, analysis, "log", b"x", filename=f"{number}.txt")
    with count_queries() as many:
        assert len(export(viewer, analysis).json["artifacts"]) == 5
    assert len(few) == len(many)
    assert world.count(Artifact) == 5
