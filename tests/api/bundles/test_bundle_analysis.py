"""GET /api/analyses/{id}/bundle: who may, also for groups; what is in one, and that it is all there was."""

import hashlib
import io
from collections.abc import Callable

import pytest
from flask import Flask

from app.bundles.verifying import verify
from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Principal, Project
from app.models.principal import ProvenKey
from tests.bundles.made import flipped, lie_in
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, fields_at_fault, store, upload
from tests.support.bundles import of_analysis


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


def test_the_page_offers_it(full: Analysis, viewer: Person, stranger: Person) -> None:
    page = viewer.client.get(f"/analyses/{full.id}")
    assert f'href="/analyses/{full.id}/bundle"' in page.text
    answer = viewer.client.get(f"/analyses/{full.id}/bundle")
    assert verify(io.BytesIO(answer.data)).signed
    group = viewer.client.get(f"/projects/{full.image_id}/bundle?group_id=x")
    assert group.status_code == 404 and "<h1" in group.text
    assert stranger.client.get(f"/analyses/{full.id}/bundle").status_code == 403
