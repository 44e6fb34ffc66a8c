"""What every format of FORMATS keeps to: its name, what it says of itself, and what it says it dropped."""

import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import parse_options_header

from app import exports
from app.annotations import TYPES
from app.exports import FORMATS, Selection, manifests
from app.exports.losses import REASONS
from app.extensions import db
from app.models import Analysis, Annotation, Export, Image, Project
from app.schemas.analyses import ExportOut
from app.schemas.annotations import AnnotationOut
from app.schemas.queries import EXPORT_FORMATS
from tests.cast import Person, Pipeline
from tests.factories import World, gradient, picture
from tests.steps import check_problem, fields_at_fault, finalize, store, upload

ROOT = Path(__file__).resolve().parent.parent.parent
LOSSLESS = {"json", "ndjson"}
BESIDE = {"json", "ndjson", "csv", "coco-results"}


@pytest.fixture
def image(world: World, project: Project) -> Image:
    return world.image(project, content=picture(320, 240))


@pytest.fixture
def full(app: Any, pipeline: Pipeline, analysis: Analysis) -> Analysis:
    """One of every type, twice the heatmap."""
    path = upload(app, pipeline, analysis, content=gradient(32, 24))
    items = []
    for name in [*TYPES, "heatmap"]:
        kind = TYPES[name]
        item = {"annotation_type": name, "data": kind.example, "class_name": name, "confidence": 0.5}
        items.append(item | ({"storage_path": path} if name == "heatmap" else {}))
    store(pipeline, analysis, items)
    finalize(pipeline, analysis)
    return analysis


def export(person: Person, analysis: Analysis, form: str, **query: str) -> Any:
    query = {"format": form, **query}
    return person.api("GET", f"/api/analyses/{analysis.id}/export", query_string=query)


def test_the_query_takes_the_names_of_all() -> None:
    assert list(EXPORT_FORMATS) == list(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_what_it_says_of_itself(form: str) -> None:
    format = FORMATS[form]
    assert 10 < len(format.keeps) <= 60 and not format.keeps.endswith(".")
    assert set(format.drops) <= set(TYPES) and set(format.drops.values()) <= set(REASONS)
    assert format.is_lossless == (form in LOSSLESS)
    assert f"`{form}`" in (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("form", FORMATS)
def test_its_name_and_what_it_dropped(full: Analysis, viewer: Person, form: str) -> None:
    answer = export(viewer, full, form)
    assert answer.status_code == 200 and answer.data
    assert answer.headers["Content-Type"] == FORMATS[form].content_type
    _, options = parse_options_header(answer.headers["Content-Disposition"])
    assert re.fullmatch(
        rf"analysis_.+_\d{{8}}_\d{{6}}\.{re.escape(FORMATS[form].extension)}", options["filename"]
    )
    told = answer.headers.get("X-ML-Export-Dropped", "")
    assert bool(told) == (form not in LOSSLESS)
    for kind, what in FORMATS[form].drops.items():
        assert f"{what}={2 if kind == 'heatmap' else 1}" in told


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_counts_what_was_dropped(full: Analysis, viewer: Person, form: str) -> None:
    answer = export(viewer, full, form, manifest="1")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    told = answer.json
    assert (told["format"], told["analysis_count"], told["annotation_count"]) == (form, 1, len(TYPES) + 1)
    dropped = {entry["what"]: entry["count"] for entry in told["dropped"]}
    for kind, what in FORMATS[form].drops.items():
        assert dropped[what] == (2 if kind == "heatmap" else 1)
    if form not in FORMATS or not FORMATS[form].drops:
        assert dropped == {}
    if form == "coco":
        inside = json.loads(export(viewer, full, form).data)
        assert inside["dropped"] == told["dropped"] and inside["info"]["never"] == []


@pytest.mark.parametrize("form", [name for name, format in FORMATS.items() if not format.drops])
def test_nothing_is_read_for_the_manifest_of_what_drops_nothing(
    full: Analysis, project: Project, viewer: Person, count_queries: Any, form: str
) -> None:
    for path in (f"/api/analyses/{full.id}/export", f"/api/projects/{project.id}/export"):
        with count_queries() as statements:
            told = viewer.api("GET", path, query_string={"format": form, "manifest": "1"}).json
        assert (told["analysis_count"], told["annotation_count"]) == (1, len(TYPES) + 1)
        assert not any("ml_annotations" in statement for statement in statements)


def test_too_many_to_be_counted_before_the_first_byte(
    monkeypatch: pytest.MonkeyPatch, full: Analysis, project: Project, viewer: Person, count_queries: Any
) -> None:
    """Of an analysis alone as of many; the file itself counts them."""
    monkeypatch.setattr(manifests, "COUNTED", len(TYPES))
    for path in (f"/api/analyses/{full.id}/export", f"/api/projects/{project.id}/export"):
        with count_queries() as statements:
            answer = viewer.api("GET", path, query_string={"format": "coco"})
        assert answer.headers["X-ML-Export-Dropped"] == "uncounted"
        assert not any("count(" in one and "annotation_type" in one for one in statements)
        assert {one["what"]: one["count"] for one in answer.json["dropped"]}["heatmap"] == 2


def all_text(answer: Any) -> str:
    if answer.data[:2] != b"PK":
        return str(answer.text)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        names = [name for name in archive.namelist() if name != "manifest.json"]
        return "\n".join(names + [archive.read(name).decode() for name in names])


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_the_fields_it_says_it_lacks(
    app: Any, full: Analysis, project: Project, viewer: Person, form: str, alone: bool
) -> None:
    """Each field has a value that stands nowhere else: it is in the file or is said not to be."""
    values = {
        name: f"mark-{name}" for name in ("external_job_id", "error_message", "model_name", "model_version")
    }
    marked = {name: f"mark-{name}" for name in ("class_name", "client_id", "storage_path")}
    with app.app_context():
        change = db.update(Analysis).values(
            parameters={"a": "mark-parameters"}, provenance={"a": "mark-provenance"}
        )
        db.session.execute(db.update(Image).values(filename="mark-filename.png"))
        db.session.execute(change.values(started_at=datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC), **values))
        db.session.execute(db.update(Annotation).values(storage_path="mark-storage_path"))  # ids are in some
        of_one = db.select(Annotation).where(Annotation.annotation_type == "bounding_box")
        one = db.session.scalars(of_one).one()
        for name, value in marked.items():
            setattr(one, name, value)
        one.confidence = 0.7654
        db.session.commit()
        expected = values | marked | {"parameters": "mark-parameters", "provenance": "mark-provenance"}
        expected |= {
            "analysis_id": str(full.id),
            "image_id": str(full.image_id),
            "filename": "mark-filename",
            "annotation_id": str(one.id),
        }
        expected |= {"started_at": "2020-02-03T04:05:06", "confidence": "0.7654"}
    path = f"/api/analyses/{full.id}/export" if alone else f"/api/projects/{project.id}/export"
    answer = viewer.api("GET", path, query_string={"format": form})
    text = all_text(answer)
    never = viewer.api("GET", path, query_string={"format": form, "manifest": "1"}).json["never"]
    told = re.search(r'fields="([^"]*)"', answer.headers.get("X-ML-Export-Dropped", ""))
    assert (told[1].split() if told else []) == never
    assert set(never) <= {*manifests.ANALYSIS, *manifests.ANNOTATION}
    for name, value in expected.items():
        assert (value in text) == (name not in never), name


@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("columns", [(), ("analysis_id", "status", "class_name")])
def test_the_fields_that_a_csv_of_many_says_it_lacks(
    app: Any, full: Analysis, project: Project, annotations: bool, columns: tuple[str, ...]
) -> None:
    selection = Selection(project_id=project.id, annotations=annotations)
    with app.app_context():
        now = datetime.now(UTC) + timedelta(days=1)
        file = exports.of_selection(selection, "P", "csv", app.extensions["storage"], now, columns)
        header = b"".join(file.chunks).decode().splitlines()[0].split(",")
        made = Export(format="csv", selection=selection.as_json(), columns=list(columns) or None)
        kept = exports.losses_of_kept(made)
    fields = set(ExportOut().fields) - {"schema_version", "annotations"} - {"id", "created_at"}
    fields |= {"analysis_id", "analysis_created_at"}
    if annotations:
        fields |= {"annotation_id", *set(AnnotationOut().fields) - {"id"}}
    told = re.search(r'fields="([^"]*)"', file.headers["X-ML-Export-Dropped"])
    assert told and set(told[1].split()) == fields - {name.replace("data_json", "data") for name in header}
    assert kept == file.headers


def test_a_format_that_is_none(full: Analysis, viewer: Person) -> None:
    for form in ("xml", "", "JSON"):
        assert fields_at_fault(export(viewer, full, form)) == {"format"}


def test_ndjson_says_the_same_as_json_and_where_it_ends(full: Analysis, viewer: Person) -> None:
    whole = export(viewer, full, "json").json
    text = export(viewer, full, "ndjson").data
    assert text.endswith(b"\n")
    head, *lines, end = [json.loads(line) for line in text.splitlines()]
    assert end == {"kind": "end", "analysis_count": 1, "annotation_count": len(TYPES) + 1}
    assert [line.pop("kind") for line in lines] == ["annotation"] * (len(TYPES) + 1)
    assert (head.pop("kind"), lines) == ("analysis", whole.pop("annotations"))
    assert head == whole and head["schema_version"] == "1.0"


def test_the_page_offers_all_with_a_line_on_what_each_keeps(full: Analysis, viewer: Person) -> None:
    text = viewer.client.get(f"/images/{full.image_id}?analysis={full.id}").text
    for form, format in FORMATS.items():
        assert f"/analyses/{full.id}/export?format={form}" in text
        assert f"<span>{format.title}<small>{format.keeps}</small></span>" in text
        answer = viewer.client.get(f"/analyses/{full.id}/export?format={form}")
        assert answer.status_code == 200 and answer.data
    told = viewer.client.get(f"/analyses/{full.id}/export?format=voc&manifest=1").json
    assert told["format"] == "voc" and told["dropped"]


# --- a project ---------------------------------------------------------------------------------------------------


@pytest.fixture
def several(world: World, pipeline: Pipeline, project: Project, image: Image) -> dict[str, Analysis]:
    made = {}
    for name, columns in {
        "one": {"group_id": "night", "model_name": "leaf-net"},
        "two": {"group_id": "night", "model_name": "bark-net"},
        "three": {"model_name": "leaf-net"},
    }.items():
        made[name] = world.analysis(image, "processing", **columns)
        items = [{"annotation_type": "custom", "data": {"n": n}} for n in range(2)]
        store(
            pipeline,
            made[name],
            [*items, {"annotation_type": "classification", "data": {"scores": {"a": 1}}}],
        )
    finalize(pipeline, made["one"])
    stranger = world.image(world.project("Elsewhere"))
    world.analysis(stranger, "completed", group_id="night")
    return made


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, {"one", "two", "three"}),
        ({"group_id": "night"}, {"one", "two"}),
        ({"model": "leaf-net"}, {"one", "three"}),
        ({"status": "completed"}, {"one"}),
        ({"group_id": "night", "status": "processing"}, {"two"}),
        ({"created_from": "2000-01-01", "created_to": "2999-12-31"}, {"one", "two", "three"}),
        ({"created_to": "2000-01-01"}, set()),
    ],
)
def test_which_analyses_of_a_project(
    several: dict[str, Analysis], project: Project, viewer: Person, query: dict[str, str], names: set[str]
) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/export", query_string=query)
    assert {one["id"] for one in answer.json["analyses"]} == {str(several[name].id) for name in names}
    assert answer.json["annotation_count"] == 3 * len(names)
    assert "X-ML-Export-Dropped" not in answer.headers


@pytest.mark.parametrize("form", FORMATS)
def test_a_project_in_every_format(
    several: dict[str, Analysis], project: Project, viewer: Person, form: str
) -> None:
    path = f"/api/projects/{project.id}/export"
    answer = viewer.api("GET", path, query_string={"format": form, "group_id": "night"})
    assert answer.status_code == 200 and answer.data
    _, options = parse_options_header(answer.headers["Content-Disposition"])
    assert options["filename"].startswith("analyses_") and options["filename"].endswith(
        FORMATS[form].extension
    )
    told = viewer.api("GET", path, query_string={"format": form, "group_id": "night", "manifest": "1"}).json
    assert (told["analysis_count"], told["annotation_count"]) == (2, 6)
    assert told["filters"]["group_id"] == "night"
    if FORMATS[form].drops:
        assert "custom=4" in answer.headers["X-ML-Export-Dropped"]
        assert {"what": "custom", "count": 4}.items() <= told["dropped"][-1].items()


def test_a_project_as_ndjson_has_each_analysis_before_its_annotations(
    several: dict[str, Analysis], project: Project, viewer: Person
) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/export?format=ndjson")
    lines = [json.loads(line) for line in answer.data.splitlines()]
    assert [line["kind"] for line in lines] == ["export", *(["analysis"] + ["annotation"] * 3) * 3, "end"]
    assert lines[-1] == {"kind": "end", "analysis_count": 3, "annotation_count": 9}
    for place in range(1, 13, 4):
        assert {line["analysis_id"] for line in lines[place + 1 : place + 4]} == {lines[place]["id"]}


def test_analyses_without_their_annotations(
    several: dict[str, Analysis], project: Project, viewer: Person
) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/export?annotations=0")
    assert [one["annotation_count"] for one in answer.json["analyses"]] == [3, 3, 3]
    assert not any("annotations" in one for one in answer.json["analyses"])


def test_what_is_no_choice(project: Project, viewer: Person, stranger: Person) -> None:
    path = f"/api/projects/{project.id}/export"
    check_problem(stranger.api("GET", path), 403, "forbidden")
    wrong = {"status": "over", "created_from": "soon", "format": "xml"}
    assert fields_at_fault(viewer.api("GET", path, query_string=wrong)) == set(wrong)
    days = {"created_from": "2026-02-02", "created_to": "2026-02-01"}
    assert fields_at_fault(viewer.api("GET", path, query_string=days)) == {"created_to"}


@pytest.mark.parametrize("more", [{}, {"manifest": "1"}, {"format": "voc"}])
def test_a_group_that_the_project_does_not_have(
    several: dict[str, Analysis], project: Project, viewer: Person, world: World, more: dict[str, str]
) -> None:
    """As its status and its bundle; another project's is none of this one."""
    world.analysis(world.image(world.project("Bark")), "completed", group_id="theirs")
    path = f"/api/projects/{project.id}/export"
    for name in ("none", "theirs"):
        answer = viewer.api("GET", path, query_string={"group_id": name, **more})
        check_problem(answer, 404, "not-found")
    empty = viewer.api("GET", path, query_string={"group_id": "night", "status": "failed"})
    assert (empty.status_code, empty.json["analyses"]) == (200, [])
