"""GET /api/analyses/{id}/bundle, GET /api/projects/{id}/bundle: what is in them, and that it is all there was."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import update

from app.bundles import writing
from app.bundles.layout import MANIFEST, SIGNATURE, local_header
from app.bundles.verifying import verify
from app.bundles.writing import least_manifest
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Artifact, AuditEvent, Image, Principal, Project
from app.models.principal import ProvenKey
from tests.bundles.made import flipped, lie_in
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, fields_at_fault, finalize, store, upload

GROUP = "night run / 葉"


class Bundle:
    """An answer, verified with the key the server names, and read by somebody else's code."""

    def __init__(self, person: Person, answer: Any) -> None:
        assert answer.status_code == 200, answer.text
        self.answer = answer
        [key] = person.api("GET", "/api/bundle-keys").json["keys"]
        verdict = verify(io.BytesIO(answer.data), [key["public_key"]])
        assert verdict.signed and verdict.trusted
        self.manifest = verdict.manifest
        self.zip = zipfile.ZipFile(io.BytesIO(answer.data))
        assert self.zip.testzip() is None
        assert self.zip.namelist() == [
            *(file["name"] for file in self.manifest["files"]),
            MANIFEST,
            SIGNATURE,
        ]

    def json(self, name: str) -> Any:
        return json.loads(self.zip.read(name))

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.zip.read(name).splitlines()]

    def annotations(self, analysis: Analysis) -> list[Any]:
        """Of the lines those that are one."""
        lines = self.lines(f"analyses/{analysis.id}/annotations.ndjson")
        assert [lines[0].pop("kind"), lines[-1]["kind"]] == ["analysis", "end"]
        assert lines[-1]["annotation_count"] == len(lines) - 2
        assert {line.pop("kind") for line in lines[1:-1]} <= {"annotation"}
        return lines[1:-1]

    def of(self, name: str) -> Any:
        """What the manifest says of a file."""
        found = [*self.manifest["files"], *self.manifest["absent"]]
        return next(file for file in found if file["name"] == name)

    def crate(self) -> dict[str, Any]:
        graph = self.json("ro-crate-metadata.json")["@graph"]
        assert len({entity["@id"] for entity in graph}) == len(graph)
        return {entity["@id"]: entity for entity in graph}


def of_analysis(person: Person, analysis: Analysis, query: str = "") -> Bundle:
    return Bundle(person, person.api("GET", f"/api/analyses/{analysis.id}/bundle{query}"))


def of_group(person: Person, project: Project, group_id: str = GROUP, **query: str) -> Bundle:
    asked = {"group_id": group_id, **query}
    return Bundle(person, person.api("GET", f"/api/projects/{project.id}/bundle", query_string=asked))


@pytest.fixture
def full(app: Flask, world: World, image: Image, pipeline: Pipeline, owner: Person) -> Analysis:
    """Completed, with two artifacts and three annotations."""
    said = {"commit": "0b5ff1e", "container": "registry.example.org/leaf:1", "model_sha256": "ab" * 32}
    more = {"parameters": {"threshold": 0.5, "sizes": [1, 2]}, "provenance": said}
    analysis = world.analysis(image, "processing", group_id=GROUP, requested_by_id=owner.id, **more)
    path = upload(app, pipeline, analysis)
    upload(app, pipeline, analysis, "log", b"done\n")
    heatmap = {"annotation_type": "heatmap", "data": {"width": 16, "height": 12}, "storage_path": path}
    store(pipeline, analysis, [box(client_id="a", class_name="=leaf"), box(client_id="b"), heatmap])
    finalize(pipeline, analysis)
    return analysis


def test_who_may(
    client: LintClient, full: Analysis, project: Project, viewer: Person, stranger: Person, pipeline: Pipeline
) -> None:
    group = f"/api/projects/{project.id}/bundle?group_id=night+run+/+%E8%91%89"
    for path in (f"/api/analyses/{full.id}/bundle", group):
        check_problem(client.get(path), 401, "unauthenticated")
        check_problem(pipeline.request("GET", path), 401, "scheme-not-allowed")
        check_problem(stranger.api("GET", path), 403, "forbidden")
        check_problem(viewer.api("POST", path), 405, "method-not-allowed")
        assert viewer.api("GET", path).status_code == 200
    check_problem(viewer.api("GET", f"/api/analyses/{some_id()}/bundle"), 404, "not-found")
    check_problem(viewer.api("GET", f"/api/projects/{some_id()}/bundle?group_id=g"), 404, "not-found")
    check_problem(viewer.api("GET", f"/api/projects/{project.id}/bundle?group_id=other"), 404, "not-found")
    assert fields_at_fault(viewer.api("GET", f"/api/projects/{project.id}/bundle")) == {"group_id"}
    assert fields_at_fault(viewer.api("GET", f"/api/analyses/{full.id}/bundle?images=x")) == {"images"}


# --- what is in one ----------------------------------------------------------------------------------------------


def test_everything_of_an_analysis(full: Analysis, image: Image, viewer: Person) -> None:
    made = of_analysis(viewer, full)
    place = f"analyses/{full.id}"
    exported = viewer.api("GET", f"/api/analyses/{full.id}/export").json
    annotations = exported.pop("annotations")
    told = made.json(f"{place}/analysis.json")
    assert told.pop("image") == viewer.api("GET", f"/api/images/{image.id}").json
    assert told == exported
    assert told["parameters"] == {"threshold": 0.5, "sizes": [1, 2]}
    assert made.annotations(full) == annotations
    assert made.zip.read(f"{place}/artifacts/heatmap.png") == picture(16, 12)
    assert made.zip.read(f"{place}/artifacts/log.txt") == b"done\n"
    recorded = {"size": 5, "sha256": hashlib.sha256(b"done\n").hexdigest()}
    assert made.of(f"{place}/artifacts/log.txt").items() >= {"state": "present", "recorded": recorded}.items()
    assert made.manifest["counts"] == {"analyses": 1, "annotations": 3}
    assert made.manifest["scope"] == {"analysis_id": str(full.id)}
    assert made.manifest["absent"] == []
    assert not [name for name in made.zip.namelist() if name.startswith("images/")]
    assert made.answer.headers["Content-Type"] == "application/zip"
    name = f"analysis_leaf-net_{full.created_at:%Y%m%d_%H%M%S}.bundle.zip"
    assert made.answer.headers["Content-Disposition"] == f"attachment; filename={name}"


def test_the_annotations_are_the_ndjson_export(full: Analysis, viewer: Person) -> None:
    exported = viewer.api("GET", f"/api/analyses/{full.id}/export?format=ndjson").data
    assert of_analysis(viewer, full).zip.read(f"analyses/{full.id}/annotations.ndjson") == exported


def test_the_audit_trail_without_addresses(
    full: Analysis, pipeline: Pipeline, world: World, image: Image, editor: Person, viewer: Person
) -> None:
    other = world.analysis(image, "processing")
    store(pipeline, other, [box()])
    canceled = editor.api("PATCH", f"/api/analyses/{other.id}/status", json={"status": "canceled"})
    assert canceled.status_code == 200
    events = of_analysis(viewer, full).lines(f"analyses/{full.id}/audit.ndjson")
    assert [event["action"] for event in events] == [
        "annotations.stored",
        "analysis.completed",
        "artifact.presigned",
        "artifact.presigned",
    ]
    assert {event["actor_label"] for event in events} == {"pipeline"}
    made = of_analysis(viewer, other)
    last = made.lines(f"analyses/{other.id}/audit.ndjson")[-1]
    assert (last["action"], last["actor_kind"], last["actor_id"]) == (
        "analysis.canceled",
        "user",
        str(editor.id),
    )
    assert last["actor_label"] is None
    assert editor.email.encode() not in made.answer.data


def test_the_audit_trail_without_the_names_of_keys(full: Analysis, viewer: Person, app: Flask) -> None:
    label = Principal("pipeline", key=ProvenKey("k3yk3yk3", "Night (shift)", frozenset())).label
    with app.app_context():
        about = {"subject_type": "analysis", "subject_id": str(full.id), "action": "analysis.claimed"}
        db.session.add(AuditEvent(actor_kind="pipeline", actor_label=label, **about))
        db.session.commit()
    made = of_analysis(viewer, full)
    last = made.lines(f"analyses/{full.id}/audit.ndjson")
    assert "pipeline (k3yk3yk3)" in [event["actor_label"] for event in last]
    assert b"Night" not in made.answer.data


def test_the_image_on_request(full: Analysis, image: Image, viewer: Person, app: Flask) -> None:
    made = of_analysis(viewer, full, "?images=1")
    name = f"images/{image.id}.png"
    assert hashlib.sha256(made.zip.read(name)).hexdigest() == image.sha256 == made.of(name)["sha256"]
    assert made.of(name)["state"] == "present"
    app.extensions["storage"].put(image.storage_path, b"another", "image/png")
    assert of_analysis(viewer, full, "?images=1").of(name)["state"] == "changed"
    app.extensions["storage"].delete([image.storage_path])
    made = of_analysis(viewer, full, "?images=1")
    assert (made.of(name)["state"], name in made.zip.namelist()) == ("missing", False)


def test_artifacts_that_changed_or_went_missing_are_said(app: Flask, full: Analysis, viewer: Person) -> None:
    files, place = app.extensions["storage"], f"analyses/{full.id}/artifacts"
    files.put(f"ml_outputs/{full.id}/log.txt", b"fine\n", "text/plain")
    files.delete([f"ml_outputs/{full.id}/heatmap.png"])
    made = of_analysis(viewer, full)
    changed, missing = made.of(f"{place}/log.txt"), made.of(f"{place}/heatmap.png")
    assert (changed["state"], changed["recorded"]["sha256"]) == (
        "changed",
        hashlib.sha256(b"done\n").hexdigest(),
    )
    assert changed["sha256"] == hashlib.sha256(b"fine\n").hexdigest()
    assert (missing["state"], missing["recorded"]["size"]) == ("missing", len(picture(16, 12)))
    assert f"{place}/heatmap.png" not in made.zip.namelist()
    said = "\n".join(verify(io.BytesIO(made.answer.data)).lines())
    assert f"changed when the bundle was made: {place}/log.txt" in said
    assert f"missing when the bundle was made: {place}/heatmap.png" in said


def test_one_that_runs_and_one_that_says_nothing(
    app: Flask, analysis: Analysis, world: World, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    wanted = {"artifact_type": "log"}
    assert pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).status_code == 200
    upload(app, pipeline, analysis)
    made = of_analysis(viewer, analysis)
    assert made.of(f"analyses/{analysis.id}/artifacts/log.txt")["state"] == "pending"
    assert made.of(f"analyses/{analysis.id}/artifacts/heatmap.png")["state"] == "present"
    empty = world.analysis(image, "queued")
    assert of_analysis(viewer, empty).annotations(empty) == []


@pytest.mark.soak
def test_every_byte_of_a_real_one_is_watched_and_named(full: Analysis, viewer: Person) -> None:
    data = of_analysis(viewer, full, "?images=1").answer.data
    for place in range(len(data)):
        lie = lie_in(flipped(data, place, 1 << place % 8))
        assert (lie.offset, lie.length) == (place, 1), str(lie)


# --- groups ------------------------------------------------------------------------------------------------------


def test_a_group(full: Analysis, world: World, image: Image, project: Project, viewer: Person) -> None:
    more = [world.analysis(image, "failed", group_id=GROUP, error_message="no memory") for _ in range(2)]
    world.analysis(image, "completed", group_id="another")
    elsewhere = world.image(world.project("Elsewhere", owner=viewer))
    world.analysis(elsewhere, "completed", group_id=GROUP)
    deleted = world.analysis(image, "completed", group_id=GROUP)
    with world.app.app_context():
        db.session.get_one(Analysis, deleted.id).deleted_at = deleted.created_at
        db.session.commit()
    made = of_group(viewer, project, images="1")
    told = [name for name in made.zip.namelist() if name.endswith("analysis.json")]
    assert told == [f"analyses/{analysis.id}/analysis.json" for analysis in (full, *more)]
    assert made.manifest["counts"] == {"analyses": 3, "annotations": 3}
    assert made.manifest["scope"] == {"project_id": str(project.id), "group_id": GROUP}
    assert [name for name in made.zip.namelist() if name.startswith("images/")] == [f"images/{image.id}.png"]
    assert "filename*=UTF-8''group_night%20run%20_%20%E8%91%89_" in made.answer.headers["Content-Disposition"]


def test_a_group_of_many(world: World, image: Image, project: Project, viewer: Person) -> None:
    """More than are read at a time, some born in the same moment."""
    moment = world.analysis(image).created_at
    ids = [world.analysis(image, group_id="g", created_at=moment).id for _ in range(55)]
    names = of_group(viewer, project, "g").zip.namelist()
    assert {name.split("/")[1] for name in names if name.startswith("analyses/")} == {str(i) for i in ids}
    assert len(names) == 3 * 55 + 3


def test_a_group_too_large_for_a_bundle_is_refused_before_the_first_byte(
    app: Flask,
    full: Analysis,
    image: Image,
    project: Project,
    viewer: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the number of its analyses, and by what is recorded of its files, of images only where they come along."""

    def asked(images: str = "0") -> Any:
        query = {"group_id": GROUP, "images": images}
        return viewer.api("GET", f"/api/projects/{project.id}/bundle", query_string=query)

    assert asked().status_code == 200
    with monkeypatch.context() as patched:
        patched.setattr(writing, "MOST_MANIFEST", least_manifest(5, 0) - 1)
        assert check_problem(asked(), 400, "limit-reached")["limit"] == least_manifest(5, 0) - 1
    for table, images in ((Image, "1"), (Artifact, "0")):
        with app.app_context():
            db.session.execute(update(table).values(size_bytes=2**40))
            db.session.commit()
        check_problem(asked(images), 400, "limit-reached")
        assert asked().status_code == (200 if images == "1" else 400)


# --- RO-Crate ----------------------------------------------------------------------------------------------------


def test_the_crate(full: Analysis, image: Image, viewer: Person, owner: Person) -> None:
    """In the shape that roc-validator 0.13.0 found to be a Process Run Crate 0.5; see docs/bundles.md."""
    made = of_analysis(viewer, full)
    crate = made.crate()
    assert crate["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    files = {file["name"]: file for file in made.manifest["files"]}
    del files["ro-crate-metadata.json"]
    assert [part["@id"] for part in crate["./"]["hasPart"]] == list(files)
    for name, file in files.items():
        assert crate[name]["@type"] == "File"
        assert (crate[name]["contentSize"], crate[name]["sha256"]) == (str(file["size"]), file["sha256"])
    action = crate[crate["./"]["mentions"]["@id"]]
    assert action["@type"] == "CreateAction"
    model = crate[action["instrument"]["@id"]]
    assert (model["@type"], model["name"], model["softwareVersion"]) == (
        "SoftwareApplication",
        "leaf-net",
        "1.0.0",
    )
    taken = [crate[thing["@id"]] for thing in action["object"]]
    assert (taken[0]["@id"], taken[0]["sha256"]) == (f"urn:uuid:{image.id}", image.sha256)
    assert {value["name"]: value["value"] for value in taken[1:]} == {"threshold": "0.5", "sizes": "[1,2]"}
    assert {thing["@id"].rpartition("/")[2] for thing in action["result"]} == {
        "annotations.ndjson",
        "heatmap.png",
        "log.txt",
    }
    said = {
        crate[value["@id"]]["name"]: crate[value["@id"]]["value"] for value in action["additionalProperty"]
    }
    assert said["commit"] == "0b5ff1e" and said["model_sha256"] == "ab" * 32
    assert crate[action["agent"]["@id"]]["name"] == str(owner.id)
    assert action["endTime"] and action["actionStatus"] == "http://schema.org/CompletedActionStatus"


def test_every_reference_of_a_crate_leads_somewhere(
    full: Analysis, world: World, image: Image, project: Project, viewer: Person
) -> None:
    world.analysis(
        image, "failed", group_id=GROUP, error_message="no memory", model_name="葉 net", parameters={}
    )
    world.analysis(image, "queued", group_id=GROUP, parameters={"": None})
    crate = of_group(viewer, project, images="1").crate()
    outside = {"https://w3id.org/ro/crate/1.1"}

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else []
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    named = {name for entity in crate.values() for value in entity.values() for name in references(value)}
    assert named - outside <= set(crate)
    actions = [crate[action["@id"]] for action in crate["./"]["mentions"]]
    assert [action.get("error") for action in actions] == [None, "no memory", None]
    assert all(action["object"] for action in actions)
    assert f"images/{image.id}.png" in crate


def test_models_whose_names_and_versions_read_alike_are_two(
    world: World, image: Image, project: Project, viewer: Person
) -> None:
    known = [("leaf", "net 2"), ("leaf net", "2"), ("leaf net", "2")]
    for name, version in known:
        world.analysis(image, "completed", group_id="g", model_name=name, model_version=version)
    crate = of_group(viewer, project, "g").crate()
    models = [crate[crate[action["@id"]]["instrument"]["@id"]] for action in crate["./"]["mentions"]]
    assert [(model["name"], model["softwareVersion"]) for model in models] == known


# --- while it is sent --------------------------------------------------------------------------------------------


def test_no_transaction_is_open_between_the_pieces(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(2500)])
    with app.app_context():
        pool: Any = db.engine.pool
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/bundle")
    seen = [(pool.checkedout(), len(chunk)) for chunk in answer.iter_encoded()]
    assert {number for number, _ in seen} == {0}
    assert len(seen) > 5 and max(size for _, size in seen) <= 64 * 1024


def test_the_first_byte_waits_for_no_annotations(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline, count_queries: Callable[[], Any]
) -> None:
    """Of one that runs all are set aside first, as they are at one moment: that takes the longer the more there are."""
    upload(app, pipeline, analysis)
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(1500)])
    with count_queries() as before:
        answer = viewer.api("GET", f"/api/analyses/{analysis.id}/bundle")
    assert before and not [statement for statement in before if "FROM ml_annotations" in statement]
    sent = list(answer.iter_encoded())
    assert sent[0] == local_header(f"analyses/{analysis.id}/analysis.json")
    manifest = verify(io.BytesIO(b"".join(sent))).manifest
    assert manifest["counts"] == {"analyses": 1, "annotations": 1500}
    app.extensions["storage"] = Failing(app.extensions["storage"], at_stat=True)
    check_problem(viewer.api("GET", f"/api/analyses/{analysis.id}/bundle"), 503, "storage-unavailable")


def test_the_first_byte_of_a_group_waits_for_no_annotations(
    world: World, project: Project, image: Image, viewer: Person, pipeline: Pipeline, count_queries: Any
) -> None:
    analysis = world.analysis(image, "processing", group_id="g")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(1500)])
    with count_queries() as before:
        answer = viewer.api("GET", f"/api/projects/{project.id}/bundle?group_id=g")
    assert before and not [statement for statement in before if "annotations.data" in statement]
    sent = list(answer.iter_encoded())
    assert sent[0] == local_header(f"analyses/{analysis.id}/analysis.json")
    assert verify(io.BytesIO(b"".join(sent))).manifest["counts"]["annotations"] == 1500


def test_a_store_that_is_away_is_503(app: Flask, full: Analysis, viewer: Person) -> None:
    app.extensions["storage"] = Failing(app.extensions["storage"], at_stat=True)
    check_problem(viewer.api("GET", f"/api/analyses/{full.id}/bundle"), 503, "storage-unavailable")


@pytest.mark.parametrize("short", [False, True])
def test_a_store_that_fails_on_the_way_breaks_the_bundle_off(
    app: Flask, full: Analysis, viewer: Person, pipeline: Pipeline, short: bool
) -> None:
    """What arrived has no manifest, so nobody takes it for whole."""
    app.extensions["storage"].put(f"ml_outputs/{full.id}/log.txt", bytes(300_000), "text/plain")
    app.extensions["storage"] = Failing(app.extensions["storage"], short=short)
    answer = viewer.api("GET", f"/api/analyses/{full.id}/bundle")
    arrived = bytearray()
    with pytest.raises(StorageUnavailable):
        for chunk in answer.iter_encoded():
            arrived += chunk
    assert arrived and b"manifest.json" not in arrived
    assert not zipfile.is_zipfile(io.BytesIO(arrived))


class Failing:
    """A storage that fails when it is asked, or in the middle of a file, or ends a file before its end."""

    def __init__(self, real: Any, at_stat: bool = False, short: bool = False) -> None:
        self.real, self.at_stat, self.short = real, at_stat, short

    def stat(self, key: str) -> Any:
        if self.at_stat:
            raise StorageUnavailable
        return self.real.stat(key)

    def open(self, key: str) -> Any:
        return Breaking(self.real.open(key), self.short) if key.endswith("log.txt") else self.real.open(key)

    def public_origin(self) -> None:
        return None


class Breaking:
    def __init__(self, source: Any, short: bool) -> None:
        self.source, self.info, self.short = source, source.info, short

    def __iter__(self) -> Iterator[bytes]:
        yield next(self.source)
        yield next(self.source)
        if not self.short:
            raise StorageUnavailable

    def close(self) -> None:
        self.source.close()


def test_another_key(make_app: Callable[..., Flask], full: Analysis, viewer: Person) -> None:
    """What an older key signed is still this server's, while that key stands behind the new one."""
    old = of_analysis(viewer, full)
    seeds = ["A" * 43 + "=", "B" * 42 + "A="]
    app = make_app(ML_BUNDLE_SIGNING_KEY=",".join(seeds))
    person = Person(app, viewer.id, viewer.email, viewer.key)
    keys = person.api("GET", "/api/bundle-keys").json["keys"]
    assert [key["algorithm"] for key in keys] == ["Ed25519"] * 2
    answer = person.api("GET", f"/api/analyses/{full.id}/bundle")
    verdict = verify(io.BytesIO(answer.data), [keys[0]["public_key"]])
    assert verdict.signature["key_id"] == keys[0]["key_id"] != old.manifest["key_id"]


def test_the_page_of_a_group_offers_it(full: Analysis, project: Project, viewer: Person) -> None:
    query = urlencode({"group_id": GROUP})
    page = viewer.client.get(f"/projects/{project.id}/group/export?{query}")
    [address] = re.findall(r'id="take-bundle" href="([^"]+)"', page.text)
    assert (
        verify(io.BytesIO(viewer.client.get(unescape(address)).data)).manifest["scope"]["group_id"] == GROUP
    )


def test_the_page_offers_it(full: Analysis, viewer: Person, stranger: Person) -> None:
    page = viewer.client.get(f"/analyses/{full.id}")
    assert f'href="/analyses/{full.id}/bundle"' in page.text
    answer = viewer.client.get(f"/analyses/{full.id}/bundle")
    assert verify(io.BytesIO(answer.data)).signed
    group = viewer.client.get(f"/projects/{full.image_id}/bundle?group_id=x")
    assert group.status_code == 404 and "<h1" in group.text
    assert stranger.client.get(f"/analyses/{full.id}/bundle").status_code == 403


def test_head_sends_no_body_and_leaves_nothing_open(full: Analysis, viewer: Person) -> None:
    answer = viewer.api("HEAD", f"/api/analyses/{full.id}/bundle")
    assert (answer.status_code, answer.data) == (200, b"")
