"""The permission matrix: every route of the URL map × everybody who may come along = the expected status."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import EnvironBuilder

from app import create_app
from app.extensions import db
from app.models import SYSTEM, Analysis, Image, Project, User, UserKey
from app.models.columns import now
from app.models.pipeline_keys import pipeline_key_projects
from app.services import pipeline_keys
from app.signing import mint_key_id
from tests.cast import SECRET, Person, Pipeline, plain_signature
from tests.conftest import ENVIRON
from tests.factories import WEBHOOKS, World, picture
from tests.html import LintClient
from tests.steps import store, upload
from tests.support.permissions import ALSO, CALLERS, PIPELINES, ROUTES, TO_SIGN_IN, Route
from tests.support.signatures import v2_headers

RLE = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}
ROLES = ("viewer", "editor", "owner", "stranger", "admin")
LINES = [(method, endpoint, ROUTES[method, endpoint]) for method, endpoint in sorted(ROUTES)] + ALSO
PROXY_SECRET = "test-proxy-secret-0123456789"
SEALED = "what signing secrets are encrypted under"


def routes_of(app: Flask) -> set[tuple[str, str]]:
    """Method and endpoint of everything that can be asked for; HEAD is GET, OPTIONS tells nothing of a row."""
    return {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_in_the_matrix_and_nothing_else(tmp_path: Any) -> None:
    routes = routes_of(create_app(ENVIRON, instance_path=str(tmp_path)))
    assert routes - set(ROUTES) == set(), "say in tests/support/permissions.py who may use these"
    assert set(ROUTES) - routes == set()


def test_everybody_is_in_every_line() -> None:
    for method, endpoint, route in LINES:
        assert tuple(route.expected) == CALLERS, (method, endpoint)
        assert set(route.but) <= set(CALLERS), (method, endpoint)


@dataclass
class Scene:
    """Rows for one question: what the address, the query and the body of a route name."""

    project: Project
    image: Image
    analysis: Analysis
    annotation_id: str
    artifact_path: str
    extra: Person
    newcomer: Person
    worker_id: str
    values: dict[str, Any]

    @property
    def new_key_id(self) -> str:
        return mint_key_id()

    def value(self, name: str, rule: Rule) -> Any:
        """Of keys there are two kinds."""
        return self.worker_id if name == "key_id" and "pipeline-keys" in rule.rule else self.values[name]

    def upload(self) -> tuple[io.BytesIO, str]:
        return io.BytesIO(picture()), "leaf.png"


@pytest.fixture(autouse=True)
def _no_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are linted where they are looked at; here a status is asked, two thousand times."""
    monkeypatch.setattr(LintClient, "_lint", lambda client, response: None)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """In front of it stands a proxy that it trusts, pipelines have keys, and it sends webhooks."""
    return make_app(AUTH_PROXY_SECRET=PROXY_SECRET, ML_KEY_ENCRYPTION_KEYS=SEALED, **WEBHOOKS)


@pytest.fixture
def cast(world: World) -> dict[str, Person]:
    people = {role: world.person(f"{role}@example.org") for role in ROLES[:-1]}
    return people | {"admin": world.person("admin@example.org", role="admin")}


@pytest.fixture
def keys(app: Flask, world: World, cast: dict[str, Person]) -> dict[str, str]:
    """By whose they are; the revoked one was the owner's."""
    gone, disabled = world.person("gone@example.org"), world.person("disabled@example.org")
    with app.app_context():
        key = db.session.get_one(UserKey, gone.key.split("_")[1])
        key.revoked_at, key.user_id = now(), cast["owner"].id
        db.session.get_one(User, disabled.id).disabled_at = now()
        db.session.commit()
    known = {f"{role}'s key": person.key for role, person in cast.items()}
    return known | {"revoked key": gone.key, "disabled account's key": disabled.key}


@dataclass(frozen=True)
class Worker:
    """A pipeline's key, whole, and what it signs with."""

    id: str
    full: str
    secret: str


@pytest.fixture
def workers(app: Flask, world: World) -> dict[str, Worker]:
    """By the names that PIPELINES has; the default one has the server's own secret."""
    columns: dict[str, dict[str, Any]] = {"this": {}, "elsewhere": {}, "plain": {"min_scheme": "plain"}}
    columns |= {"revoked": {"revoked_at": now()}, "expired": {"expires_at": now()}}
    elsewhere = world.project("Elsewhere").id
    known = {"default": Worker("default", "", SECRET)}
    with app.app_context():
        projects = [db.session.get_one(Project, elsewhere)]
        for name, values in columns.items():
            made = pipeline_keys.create(name, projects, encryption_keys=[SEALED], by=SYSTEM)
            for column, value in values.items():
                setattr(made.key, column, value)
            known[name] = Worker(made.key.id, made.full, made.signing_secret)
        db.session.commit()
    return known


def send_there(app: Flask, workers: dict[str, Worker], project: Project) -> str:
    """Lets the pipelines work in this project, but for the one that is elsewhere; the id of one more key."""
    there = [one.id for name, one in workers.items() if name not in ("default", "elsewhere")]
    with app.app_context():
        rows = [{"key_id": key_id, "project_id": project.id} for key_id in there]
        db.session.execute(pipeline_key_projects.insert(), rows)
        row = db.session.get_one(Project, project.id)
        one_more = pipeline_keys.create("one more", [row], encryption_keys=[SEALED], by=SYSTEM).key.id
        db.session.commit()
    return one_more


@pytest.fixture
def make_scene(
    app: Flask, world: World, pipeline: Pipeline, cast: dict[str, Person], workers: dict[str, Worker]
) -> Callable[[], Scene]:
    def make() -> Scene:
        members = {role: cast[role] for role in ("viewer", "editor", "owner")}
        project = world.project("Leaves", **members)
        extra = world.person(f"{uuid4()}@example.org")
        world.member(project, extra, "viewer")
        image = world.image(project)
        analysis = world.analysis(image, "processing", group_id="night run")
        path = upload(app, pipeline, analysis)
        heatmap = {
            "annotation_type": "heatmap",
            "data": {"width": 16, "height": 12},
            "storage_path": path,
        }
        ids = store(pipeline, analysis, [heatmap, {"annotation_type": "segmentation", "data": RLE}])
        values = {
            "project_id": project.id,
            "image_id": image.id,
            "analysis_id": analysis.id,
            "annotation_id": ids[0],
            "level": 0,
            "column": 0,
            "row": 0,
            "user_id": extra.id,
            "key_id": extra.key.split("_")[1],
            "delivery_id": world.delivery(analysis).id,
            "export_id": world.export().id,
            "filename": "style.css",
            "key": path,
        }
        newcomer = world.person(f"{uuid4()}@example.org")
        worker_id = send_there(app, workers, project)
        return Scene(project, image, analysis, ids[0], path, extra, newcomer, worker_id, values)

    return make


def token(client: LintClient, headers: dict[str, str]) -> str:
    """The CSRF token of this browser's session, as any of its pages with a form has it."""
    page = client.get("/", follow_redirects=True, headers=headers).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


class Asking:
    """One route, asked by anybody."""

    def __init__(
        self, app: Flask, cast: dict[str, Person], keys: dict[str, str], workers: dict[str, Worker]
    ) -> None:
        self.app, self.cast, self.keys, self.workers = app, cast, keys, workers

    def status(self, caller: str, method: str, rule: Rule, route: Route, scene: Scene) -> int:
        """As in the matrix: where a page leads to is told apart, for a redirect may be a welcome or a refusal."""
        on_pages = rule.endpoint.split(".")[0] in ("web", "admin")
        client = self.client(caller, cookies=on_pages)
        more = {}
        if route.form is not None and on_pages:
            more["csrf_token"] = token(client, self.proof(caller, "GET", "/", b""))
        body, kind = self.body(route, scene, more)
        address = self.address(rule, route, scene)
        headers = self.proof(caller, method, address, body) | kind
        answer = client.open(address, method=method, headers=headers, data=body, buffered=True)
        leads_in = answer.status_code == 303 and urlsplit(answer.location).path == "/sign-in"
        return TO_SIGN_IN if leads_in else int(answer.status_code)

    def client(self, caller: str, *, cookies: bool) -> LintClient:
        if caller in ROLES:
            return self.cast[caller].client
        return LintClient(self.app, self.app.response_class, use_cookies=cookies)

    def address(self, rule: Rule, route: Route, scene: Scene) -> str:
        built = rule.build({name: scene.value(name, rule) for name in rule.arguments}, append_unknown=False)
        assert built is not None
        query = urlencode(route.query(scene)) if route.query else ""
        return f"{built[1]}?{query}" if query else built[1]

    def body(self, route: Route, scene: Scene, more: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        """The bytes, for they are signed, and the header that says what they are."""
        if route.json is not None:
            return json.dumps(route.json(scene)).encode(), {"Content-Type": "application/json"}
        if route.form is not None:
            form = {**route.form(scene), **more}
            sent = EnvironBuilder(method="POST", data=form, content_type="multipart/form-data").get_environ()
            return sent["wsgi.input"].read(), {"Content-Type": sent["CONTENT_TYPE"]}
        return b"", {}

    def proof(self, caller: str, method: str, address: str, body: bytes) -> dict[str, str]:
        moment = str(int(self.app.extensions["clock"]().timestamp()))
        if caller in PIPELINES:
            return self.pipeline_proof(*PIPELINES[caller], method, address, body, moment)
        sent = {}
        if caller.endswith("by proxy"):
            sent |= {"X-User-Email": self.cast[caller.split()[0]].email, "X-Proxy-Secret": PROXY_SECRET}
        if caller.endswith("key"):
            sent["X-API-Key"] = self.keys[caller.removeprefix("signature + ")]
        if caller.startswith("signature"):
            sent |= {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}
        return sent

    def pipeline_proof(
        self, scheme: str, whose: str, method: str, address: str, body: bytes, moment: str
    ) -> dict[str, str]:
        worker = self.workers[whose]
        if scheme == "v2":
            return dict(v2_headers(worker.secret, method, address, body, moment, key_id=worker.id))
        sent = {"Authorization": f"Bearer {worker.full}"}
        if scheme == "plain":
            signature = plain_signature(body, moment, worker.secret)
            sent |= {"X-ML-Timestamp": moment, "X-ML-Signature": signature}
        return sent


@pytest.mark.one_database
@pytest.mark.parametrize(("method", "endpoint", "route"), LINES, ids=[" ".join(line[:2]) for line in LINES])
def test_the_matrix(
    method: str,
    endpoint: str,
    route: Route,
    app: Flask,
    cast: dict[str, Person],
    keys: dict[str, str],
    workers: dict[str, Worker],
    make_scene: Callable[[], Scene],
) -> None:
    """Under every address that the route has."""
    asking, scene = Asking(app, cast, keys, workers), make_scene()
    rules = [rule for rule in app.url_map.iter_rules(endpoint) if method in (rule.methods or ())]
    for rule in rules:
        found = {}
        for caller in CALLERS:
            found[caller] = asking.status(caller, method, rule, route, scene)
            if (
                method != "GET" and 0 <= found[caller] < 400
            ):  # rows have changed, so the next one is asked of new ones
                scene = make_scene()
        assert found == {caller: route.status(caller) for caller in CALLERS}, rule.rule
