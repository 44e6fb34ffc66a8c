"""Who may read what: every GET of the API × everyone who may come along."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.extensions import db
from app.models import Analysis, Image, Project, User, UserKey
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.html import LintClient
from tests.steps import check_problem, upload

# every GET under /api/, by endpoint; a test holds this list and the routes together
ADDRESSES = {
    "api.list_projects": "/api/projects",
    "api.show_project": "/api/projects/{project}",
    "api.list_images": "/api/projects/{project}/images",
    "api.list_project_analyses": "/api/projects/{project}/analyses",
    "api.list_groups": "/api/projects/{project}/groups",
    "api.show_group": "/api/projects/{project}/group?group_id=night+run",
    "api.show_image": "/api/images/{image}",
    "api.download_image": "/api/images/{image}/download",
    "api.image_content": "/api/images/{image}/content",
    "api.list_image_analyses": "/api/images/{image}/analyses",
    "api.show_analysis": "/api/analyses/{analysis}",
    "api.list_annotations": "/api/analyses/{analysis}/annotations",
    "api.list_receipts": "/api/analyses/{analysis}/receipts",
    "api.export_project": "/api/projects/{project}/export?format=csv",
    "api.export_analysis": "/api/analyses/{analysis}/export?format=csv",
    "api.bundle_analysis": "/api/analyses/{analysis}/bundle",
    "api.bundle_group": "/api/projects/{project}/bundle?group_id=night+run",
    "api.list_bundle_keys": "/api/bundle-keys",
    "api.download_artifact": "/api/ml/artifacts/download?path=ml_outputs/{analysis}/heatmap.png",
    "api.artifact_content": "/api/ml/artifacts/content?path=ml_outputs/{analysis}/heatmap.png",
}
OPEN_TO_ALL_PEOPLE = {"api.list_projects", "api.list_bundle_keys"}
OPEN_TO_ANYONE = {"api.show_document"}  # tests/openapi/test_document.py
PROXY = "proxy-secret-0123456789"


@pytest.fixture(params=ADDRESSES)
def endpoint(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def address(
    endpoint: str,
    app: Flask,
    world: World,
    pipeline: Pipeline,
    project: Project,
    image: Image,
    analysis: Analysis,
) -> str:
    if "group_id" in ADDRESSES[endpoint]:
        world.analysis(image, group_id="night run")
    if "ml_outputs" in ADDRESSES[endpoint]:
        upload(app, pipeline, analysis)
    return ADDRESSES[endpoint].format(project=project.id, image=image.id, analysis=analysis.id)


def test_the_list_is_complete(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    there = {rule.endpoint for rule in rules if "GET" in (rule.methods or ())}
    assert there == set(ADDRESSES) | OPEN_TO_ANYONE


def bare(app: Flask, address: str, **headers: str) -> TestResponse:
    return app.test_client(use_cookies=False).get(address, headers=headers, buffered=True)


def test_members_and_admins_by_key(
    address: str, owner: Person, editor: Person, viewer: Person, admin: Person
) -> None:
    for person in (owner, editor, viewer, admin):
        assert person.api("GET", address, buffered=True).status_code == 200, person.email
        assert person.api("HEAD", address, buffered=True).status_code == 200, person.email


def test_members_by_bearer(app: Flask, address: str, viewer: Person) -> None:
    assert bare(app, address, Authorization=f"Bearer {viewer.key}").status_code == 200
    assert bare(app, address, Authorization=f"bearer {viewer.key}").status_code == 200


def test_members_by_session(address: str, viewer: Person, stranger: Person, endpoint: str) -> None:
    assert viewer.client.get(address, buffered=True).status_code == 200
    if endpoint not in OPEN_TO_ALL_PEOPLE:
        check_problem(stranger.client.get(address), 403, "forbidden")


def test_strangers(address: str, endpoint: str, stranger: Person) -> None:
    answer = stranger.api("GET", address)
    if endpoint in OPEN_TO_ALL_PEOPLE:
        assert answer.status_code == 200
        assert answer.json == [] or endpoint == "api.list_bundle_keys"
    else:
        check_problem(answer, 403, "forbidden")


def test_nobody(app: Flask, address: str, viewer: Person) -> None:
    answer = bare(app, address)
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    check_problem(bare(app, address, Cookie="loupe=made-up"), 401, "unauthenticated")


def test_keys_that_are_not_right(app: Flask, address: str, viewer: Person) -> None:
    prefix, key_id, secret = viewer.key.split("_", 2)
    flipped = ("B" if secret[0] == "A" else "A") + secret[1:]
    for key in (
        "",
        "x",
        f"{prefix}_{key_id}_{flipped}",
        f"{prefix}_{key_id}_",
        f"{prefix}_AAAAAAAAAAAAAAAA_{secret}",
        f"mlpip_{key_id}_{secret}",
        viewer.key + "A",
        "k" * 10_000,
    ):
        check_problem(bare(app, address, **{"X-API-Key": key}), 401, "signature-invalid")
        check_problem(bare(app, address, Authorization=f"Bearer {key}"), 401, "signature-invalid")
    check_problem(bare(app, address, Authorization=f"Basic {viewer.key}"), 401, "unauthenticated")


def test_a_wrong_key_is_not_saved_by_a_session(address: str, viewer: Person) -> None:
    check_problem(viewer.client.get(address, headers={"X-API-Key": "wrong"}), 401, "signature-invalid")


def test_a_revoked_key(app: Flask, address: str, viewer: Person) -> None:
    with app.app_context():
        db.session.get_one(UserKey, viewer.key.split("_")[1]).revoked_at = now()
        db.session.commit()
    check_problem(viewer.api("GET", address), 401, "signature-invalid")


def test_a_disabled_account(app: Flask, address: str, viewer: Person) -> None:
    assert viewer.client.get(address, buffered=True).status_code == 200
    with app.app_context():
        db.session.get_one(User, viewer.id).disabled_at = now()
        db.session.commit()
    check_problem(viewer.api("GET", address), 401, "signature-invalid")
    check_problem(viewer.client.get(address), 401, "unauthenticated")


def test_a_session_that_was_ended(app: Flask, address: str, viewer: Person) -> None:
    assert viewer.client.get(address, buffered=True).status_code == 200
    with app.app_context():
        db.session.get_one(User, viewer.id).session_version += 1
        db.session.commit()
    check_problem(viewer.client.get(address), 401, "unauthenticated")


def test_a_signature_alone_reads_nothing(address: str, pipeline: Pipeline) -> None:
    check_problem(pipeline.request("GET", address), 401, "scheme-not-allowed")


def test_signature_headers_of_a_wrong_form_come_first(app: Flask, address: str, viewer: Person) -> None:
    for headers in (
        {"X-ML-Timestamp": "soon", "X-ML-Signature": "sha256=" + "0" * 64},
        {"X-ML-Timestamp": "1", "X-ML-Signature": "sha256=" + "A" * 64},
    ):
        check_problem(viewer.api("GET", address, headers=headers), 400, "malformed-request")
    for half in ({"X-ML-Timestamp": "1"}, {"X-ML-Signature": "sha256=" + "0" * 64}):
        check_problem(bare(app, address, **half), 401, "signature-missing")


def test_a_trusted_proxy(
    make_app: Callable[..., Flask], address: str, endpoint: str, viewer: Person, stranger: Person
) -> None:
    behind = make_app(AUTH_PROXY_SECRET=PROXY)

    def ask(app: Flask, email: str, secret: str) -> TestResponse:
        return bare(app, address, **{"X-User-Email": email, "X-Proxy-Secret": secret})

    assert ask(behind, viewer.email, PROXY).status_code == 200
    if endpoint not in OPEN_TO_ALL_PEOPLE:
        check_problem(ask(behind, stranger.email, PROXY), 403, "forbidden")
    check_problem(ask(behind, "nobody@example.org", PROXY), 403, "forbidden")
    check_problem(ask(behind, viewer.email, "wrong"), 401, "unauthenticated")
    check_problem(ask(behind, viewer.email, ""), 401, "unauthenticated")
    check_problem(ask(make_app(), viewer.email, PROXY), 401, "unauthenticated")
    check_problem(ask(make_app(), viewer.email, ""), 401, "unauthenticated")


def test_a_missing_row_is_404_for_people_and_401_for_nobody(
    app: Flask, endpoint: str, viewer: Person
) -> None:
    if endpoint in OPEN_TO_ALL_PEOPLE:
        return
    nowhere = UUID(int=7)
    address = ADDRESSES[endpoint].format(project=nowhere, image=nowhere, analysis=nowhere)
    check_problem(viewer.api("GET", address), 404, "not-found")
    check_problem(bare(app, address), 401, "unauthenticated")


# --- cookies write nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/api/projects"),
        ("POST", "/api/projects/{project}/images"),
        ("POST", "/api/images/{image}/analyses"),
        ("PATCH", "/api/analyses/{analysis}/status"),
        ("POST", "/api/analyses/{analysis}/annotations:bulk"),
        ("POST", "/api/analyses/{analysis}/artifacts/presign"),
        ("POST", "/api/analyses/{analysis}/finalize"),
    ],
)
def test_a_session_cookie_writes_nothing(
    method: str, address: str, owner: Person, project: Project, image: Image, analysis: Analysis
) -> None:
    path = address.format(project=project.id, image=image.id, analysis=analysis.id)
    answer: Any = owner.client.open(path, method=method, json={})
    assert answer.status_code == 401, answer.text
    assert answer.json["code"] in ("unauthenticated", "signature-missing")


def test_cors_is_not_open(client: LintClient, project: Project, viewer: Person) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}", headers={"Origin": "https://evil.example"})
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]
