"""What is in a kept file: what a download at once holds, as it was when it was asked for."""

import csv
import io
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from app import exports
from app.annotations import TYPES
from app.bundles.verifying import verify
from app.models import Analysis, AuditEvent, Export, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.fakes import FixedClock
from tests.steps import box, finalize, store, upload
from tests.support.kept_exports import EXPORTS, file_of, get, run


def test_chosen_columns_have_the_cells_of_the_whole_file(
    app: Flask, world: World, admin: Person, pipeline: Pipeline, image: Image, token: Any
) -> None:
    """Also where all that is chosen is empty, and where cells are formulas or hold what parts them."""
    analysis = world.analysis(image, "processing", model_name='=net(),"', model_version="1\r2")
    texts = ("plain", "=1+1", 'a,"b"', None)
    store(pipeline, analysis, [box(**({"class_name": text} if text else {})) for text in texts])
    world.analysis(image, "failed")
    sent = {"csrf_token": token(admin), "format": "csv"}

    def rows(**more: str) -> list[dict[str, str]]:
        answer = admin.client.post(f"{EXPORTS}/download", data={**sent, **more})
        return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))

    whole = rows()
    assert len(whole) == 5 and {row["class_name"] for row in whole} == {"plain", "'=1+1", 'a,"b"', ""}
    for columns in ("class_name", "client_id", "model_name class_name x_min data_json", " ".join(whole[0])):
        wanted = [{name: row[name] for name in row if name in columns.split()} for row in whole]
        assert rows(columns=columns) == wanted
    assert rows(what="analyses", columns="priority status") == [
        {"status": "processing", "priority": "0"},
        {"status": "failed", "priority": "0"},
    ]


@pytest.mark.parametrize("form", list(exports.FORMATS))
def test_the_same_bytes_as_a_download_at_once(
    app: Flask,
    admin: Person,
    said: Analysis,
    clock: FixedClock,
    ask: Callable[..., Export],
    token: Callable[[Person], str],
    form: str,
) -> None:
    export = ask(format=form, group="run-4")
    clock.advance(3600)
    run(app)
    kept = admin.client.get(file_of(export))
    clock.advance(-3600)
    data = {"csrf_token": token(admin), "format": form, "group": "run-4"}
    at_once = admin.client.post(f"{EXPORTS}/download", data=data)
    assert kept.data == at_once.data and kept.data
    for header in ("Content-Disposition", "Content-Type"):
        assert kept.headers[header] == at_once.headers[header]


def test_what_came_after_it_was_asked_for_is_not_in_it(
    app: Flask, world: World, admin: Person, image: Image, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    world.analysis(image)
    run(app)
    assert admin.client.get(file_of(export)).json["analysis_count"] == 1


def test_a_group_alone(
    app: Flask, world: World, admin: Person, image: Image, said: Analysis, ask: Callable[..., Export]
) -> None:
    world.analysis(image, group_id="another")
    export = ask(group="run-4", what="analyses")
    run(app)
    document = admin.client.get(file_of(export)).json
    assert [one["id"] for one in document["analyses"]] == [str(said.id)]
    assert document["filters"]["group_id"] == "run-4"


@pytest.mark.parametrize("form", ["bundle", "bundle-images"])
def test_a_bundle(
    app: Flask,
    world: World,
    admin: Person,
    pipeline: Pipeline,
    image: Image,
    project: Project,
    said: Analysis,
    ask: Callable[..., Export],
    form: str,
) -> None:
    """Of a group: it is signed, it verifies, and one made at once has the same files."""
    upload(app, pipeline, said, "log", b"done\n" * 1000)
    finalize(pipeline, said)
    world.analysis(image, "failed", group_id="another")
    wanted = {"project": str(project.id), "group": "run-4", "format": form}
    page = admin.client.get(f"{EXPORTS}?{urlencode({**wanted, 'count': 1})}").text
    assert "Download Provenance" not in page and "Write it in the background" in page
    export = ask(**wanted)
    assert run(app) == [f"export {export.id}: written"]
    kept, content = get(world, export.id), admin.client.get(file_of(export)).data
    assert (kept.analyses_done, kept.annotations_done) == (1, 3) and kept.filename.endswith(".bundle.zip")
    assert len(content) / 4 < kept.estimated_bytes < len(content)
    verified = verify(io.BytesIO(content))  # raises where it is not whole
    assert verified.signed
    images = int(form == "bundle-images")
    at_once = admin.api("GET", f"/api/projects/{project.id}/bundle?group_id=run-4&images={images}").data
    names, expected = (zipfile.ZipFile(io.BytesIO(one)).namelist() for one in (content, at_once))
    assert names == expected and (f"images/{image.id}.png" in names) == bool(images)
    assert verified.manifest["scope"] == {"project_id": str(project.id), "group_id": "run-4"}
    assert verified.manifest["counts"] == {"analyses": 1, "annotations": 3}


def test_it_outlives_what_it_holds_and_the_page_says_so(
    app: Flask, world: World, admin: Person, editor: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    """What members export is no event; what admins do is."""
    export = ask()
    run(app)
    before = world.count(AuditEvent)
    for what in (f"analyses/{said.id}/export", f"analyses/{said.id}/bundle"):
        assert editor.api("GET", f"/api/{what}").status_code == 200
    assert world.count(AuditEvent) == before
    assert editor.api("DELETE", f"/api/analyses/{said.id}").status_code == 200
    assert editor.api("GET", f"/api/analyses/{said.id}/export").status_code == 410
    assert admin.client.get(file_of(export)).json["analysis_count"] == 1
    assert world.count(AuditEvent, action="export.downloaded") == 1
    text = admin.client.get(EXPORTS).text
    assert "also when what it holds is deleted meanwhile" in text
    assert "What members export themselves is not" in text


def test_what_its_format_could_not_carry(
    app: Flask, admin: Person, pipeline: Pipeline, world: World, image: Image, ask: Callable[..., Export]
) -> None:
    """Counted as in the manifest beside a download, also where the file has no place for it."""
    analysis = world.analysis(image, "processing", group_id="lossy")
    ranked = {"annotation_type": "classification", "data": TYPES["classification"].example}
    store(pipeline, analysis, [box(confidence=None), ranked, ranked, {"annotation_type": "custom"}])
    finalize(pipeline, analysis)
    export = ask(format="coco-results", group="lossy")
    run(app)
    dropped = admin.client.get(file_of(export)).headers["X-ML-Export-Dropped"]
    assert dropped.startswith("classification=2, custom=1, no_score=1, fields=")
    made = world.reload(export).dropped
    path = f"/api/projects/{image.project_id}/export?format=coco-results&group_id=lossy&manifest=1"
    assert made == admin.api("GET", path).json["dropped"] and len(made) == 3
    text = admin.client.get(EXPORTS).text
    assert "What COCO results could not carry" in text
    for one in made:
        assert f"{one['meaning']} ({one['count']})" in text


@pytest.mark.parametrize("form", ["json", "csv", "bundle"])
def test_nothing_is_said_of_what_carries_all(
    app: Flask, admin: Person, said: Analysis, ask: Callable[..., Export], form: str
) -> None:
    ask(format=form)
    run(app)
    assert "could not carry" not in admin.client.get(EXPORTS).text
