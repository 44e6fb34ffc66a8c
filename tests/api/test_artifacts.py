"""GET /api/ml/artifacts/download and …/content."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Artifact, Image
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import check_problem, fields_at_fault, upload

ENDPOINTS = ("/api/ml/artifacts/download", "/api/ml/artifacts/content")


@pytest.fixture
def path(app: Flask, pipeline: Pipeline, analysis: Analysis) -> str:
    """Of an uploaded heatmap."""
    return upload(app, pipeline, analysis)


def get(person: Any, endpoint: str, path: str) -> Any:
    return person.api("GET", endpoint, query_string={"path": path}, buffered=True)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_who_may(
    endpoint: str,
    path: str,
    client: LintClient,
    viewer: Person,
    stranger: Person,
    admin: Person,
    pipeline: Pipeline,
) -> None:
    assert get(viewer, endpoint, path).status_code == 200
    assert get(admin, endpoint, path).status_code == 200
    check_problem(get(stranger, endpoint, path), 403, "forbidden")
    check_problem(client.get(endpoint, query_string={"path": path}), 401, "unauthenticated")
    check_problem(pipeline.request("GET", f"{endpoint}?path={path}"), 401, "scheme-not-allowed")
    check_problem(viewer.api("POST", endpoint), 405, "method-not-allowed")


def test_the_address_gives_the_bytes_without_a_key(client: LintClient, path: str, viewer: Person) -> None:
    answer = get(viewer, ENDPOINTS[0], path)
    assert set(answer.json) == {"url", "expires_at"}
    left = datetime.fromisoformat(answer.json["expires_at"]) - now()
    assert 0.8 * 900 - 5 < left.total_seconds() <= 900
    fetched = client.get(answer.json["url"], buffered=True)
    assert (fetched.status_code, fetched.data) == (200, picture(16, 12))
    assert fetched.headers["Content-Type"] == "image/png"
    assert fetched.headers["Content-Disposition"] == "attachment; filename=heatmap.png"
    assert fetched.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert fetched.headers["X-Content-Type-Options"] == "nosniff"


def test_parameters_that_mean_nothing_are_named(path: str, viewer: Person) -> None:
    answer = viewer.api("GET", ENDPOINTS[0], query_string={"path": path, "inline": "1"})
    assert (answer.status_code, answer.json["ignored"]) == (200, ["inline"])


def test_content_is_a_harmless_attachment(path: str, viewer: Person) -> None:
    answer = get(viewer, ENDPOINTS[1], path)
    assert (answer.status_code, answer.data) == (200, picture(16, 12))
    names = [
        "Content-Type",
        "Content-Length",
        "Content-Disposition",
        "Content-Security-Policy",
        "X-Content-Type-Options",
    ]
    assert {name: answer.headers[name] for name in names} == {
        "Content-Type": "image/png",
        "Content-Length": str(len(picture(16, 12))),
        "Content-Disposition": "attachment; filename=heatmap.png",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    head = viewer.api("HEAD", ENDPOINTS[1], query_string={"path": path})
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


@pytest.mark.parametrize(
    ("artifact_type", "content", "content_type"),
    [
        ("mask", picture(4, 4), "image/png"),
        ("segmentation", picture(4, 4), "image/png"),
        ("log", b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
        ("metadata", b'{"a": 1}', "application/json"),
        ("log", b"", "text/plain; charset=utf-8"),
    ],
)
def test_every_type_has_its_content_type(
    app: Flask,
    pipeline: Pipeline,
    analysis: Analysis,
    viewer: Person,
    artifact_type: str,
    content: bytes,
    content_type: str,
) -> None:
    path = upload(app, pipeline, analysis, artifact_type, content, filename="a.html")
    answer = get(viewer, ENDPOINTS[1], path)
    assert (answer.data, answer.headers["Content-Type"]) == (content, content_type)
    assert answer.headers["Content-Disposition"] == "attachment; filename=a.html"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_paths_of_another_form_are_422(
    endpoint: str, analysis: Analysis, image: Image, viewer: Person, path: str
) -> None:
    own = f"ml_outputs/{analysis.id}"
    for bad in (
        "",
        "/",
        "..",
        f"{own}/../../images/{image.id}",
        f"{own}/..",
        f"{own}/.hidden",
        f"{own}/",
        f"{own}/a/b",
        f"{own}/a\0",
        f"{own}/a\n",
        f"{own}/%2e%2e",
        f"/{own}/heatmap.png",
        f"{own}//heatmap.png",
        f"{own}\\heatmap.png",
        f"ml_outputs/{str(analysis.id).upper()}/heatmap.png",
        f"images/{image.id}",
        "instance/secrets.env",
        "/etc/passwd",
        "ml_outputs/x/heatmap.png",
        f"{own}/" + "a" * 256,
        "a" * 5000,
        f"{own}/ﬁle.png",
    ):
        assert fields_at_fault(get(viewer, endpoint, bad)) == {"path"}, bad
    assert fields_at_fault(viewer.api("GET", endpoint)) == {"path"}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_not_there_is_404(
    endpoint: str, app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline, path: str
) -> None:
    check_problem(get(viewer, endpoint, f"ml_outputs/{some_id()}/heatmap.png"), 404, "not-found")
    check_problem(get(viewer, endpoint, f"ml_outputs/{analysis.id}/other.png"), 404, "not-found")
    wanted = {"artifact_type": "log", "filename": "never-put.txt"}
    signed = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted)
    check_problem(get(viewer, endpoint, signed.json["storage_path"]), 404, "not-found")
    app.extensions["storage"].delete([path])
    check_problem(get(viewer, endpoint, path), 404, "not-found")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_file_in_storage_that_is_no_artifact_is_404(
    endpoint: str, app: Flask, analysis: Analysis, viewer: Person
) -> None:
    path = f"ml_outputs/{analysis.id}/stray.png"
    app.extensions["storage"].put(path, b"x", "image/png")
    check_problem(get(viewer, endpoint, path), 404, "not-found")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_path_decides_whose_it_is(
    endpoint: str, app: Flask, world: World, pipeline: Pipeline, viewer: Person, stranger: Person, path: str
) -> None:
    """Membership in one project opens nothing of another."""
    theirs = world.analysis(world.image(world.project("Bark", owner=stranger)), "processing")
    foreign = upload(app, pipeline, theirs)
    check_problem(get(viewer, endpoint, foreign), 403, "forbidden")
    assert get(stranger, endpoint, foreign).status_code == 200
    check_problem(get(stranger, endpoint, path), 403, "forbidden")


def test_of_a_deleted_image_is_410(app: Flask, image: Image, viewer: Person, path: str) -> None:
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    for endpoint in ENDPOINTS:
        check_problem(get(viewer, endpoint, path), 410, "deleted")


def test_the_last_put_wins(
    app: Flask, pipeline: Pipeline, analysis: Analysis, viewer: Person, world: World
) -> None:
    first = upload(app, pipeline, analysis, "log", b"one")
    second = upload(app, pipeline, analysis, "log", b"two")
    assert first == second
    assert get(viewer, ENDPOINTS[1], first).data == b"two"
    assert world.count(Artifact) == 1


def test_the_feature_off_is_404(make_app: Callable[..., Flask], viewer: Person, path: str) -> None:
    person = Person(make_app(ML_ANALYSIS_ENABLED="false"), viewer.id, viewer.email, viewer.key)
    for endpoint in ENDPOINTS:
        check_problem(get(person, endpoint, path), 404, "not-found")
