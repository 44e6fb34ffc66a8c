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

from app import create_app
from app.extensions import db
from app.models import Analysis, Image, Project, User, UserKey
from app.models.columns import now
from app.signing import mint_key_id
from tests.cast import Person, Pipeline, plain_signature
from tests.conftest import ENVIRON
from tests.factories import World, picture
from tests.html import LintClient
from tests.steps import store, upload
from tests.support.permissions import ALSO, CALLERS, ROUTES, TO_SIGN_IN, Route

RLE = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}
ROLES = ("viewer", "editor", "owner", "stranger", "admin")
LINES = [(method, endpoint, ROUTES[method, endpoint]) for method, endpoint in sorted(ROUTES)] + ALSO
PROXY_SECRET = "test-proxy-secret-0123456789"


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
    values: dict[str, Any]

    @property
    def new_key_id(self) -> str:
        return mint_key_id()

    def upload(self) -> tuple[io.BytesIO, str]:
        return io.BytesIO(picture()), "leaf.png"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """In front of it stands a proxy that it trusts."""
    return make_app(AUTH_PROXY_SECRET=PROXY_SECRET)


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


@pytest.fixture
def make_scene(app: Flask, world: World, pipeline: Pipeline, cast: dict[str, Person]) -> Callable[[], Scene]:
    def make() -> Scene:
        members = {role: cast[role] for role in ("viewer", "editor", "owner")}
        project = world.project("Leaves", **members)
        extra = world.person(f"{uuid4()}@example.org")
        world.member(project, extra, "viewer")
        image = world.image(project)
        analysis = world.analysis(image, "processing")
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
            "user_id": extra.id,
            "key_id": extra.key.split("_")[1],
            "filename": "style.css",
            "key": path,
        }
        newcomer = world.person(f"{uuid4()}@example.org")
        return Scene(project, image, analysis, ids[0], path, extra, newcomer, values)

    return make


def token(client: LintClient, headers: dict[str, str]) -> str:
    """The CSRF token of this browser's session, as any of its pages with a form has it."""
    page = client.get("/", follow_redirects=True, headers=headers).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


class Asking:
    """One route, asked by anybody."""

    def __init__(self, app: Flask, cast: dict[str, Person], keys: dict[str, str]) -> None:
        self.app, self.cast, self.keys = app, cast, keys

    def status(self, caller: str, method: str, rule: Rule, route: Route, scene: Scene) -> int:
        """As in the matrix: where a page leads to is told apart, for a redirect may be a welcome or a refusal."""
        kwargs = self.body(route, scene)
        on_pages = rule.endpoint.split(".")[0] in ("web", "admin")
        client = self.client(caller, cookies=on_pages)
        if route.form is not None and on_pages:
            kwargs["data"]["csrf_token"] = token(client, self.proof(caller, b""))
        headers = self.proof(caller, kwargs.get("data", b""))
        address = self.address(rule, route, scene)
        answer = client.open(address, method=method, headers=headers, buffered=True, **kwargs)
        leads_in = answer.status_code == 303 and urlsplit(answer.location).path == "/sign-in"
        return TO_SIGN_IN if leads_in else int(answer.status_code)

    def client(self, caller: str, *, cookies: bool) -> LintClient:
        if caller in ROLES:
            return self.cast[caller].client
        return LintClient(self.app, self.app.response_class, use_cookies=cookies)

    def address(self, rule: Rule, route: Route, scene: Scene) -> str:
        built = rule.build({name: scene.values[name] for name in rule.arguments}, append_unknown=False)
        assert built is not None
        query = urlencode(route.query(scene)) if route.query else ""
        return f"{built[1]}?{query}" if query else built[1]

    def body(self, route: Route, scene: Scene) -> dict[str, Any]:
        if route.json is not None:
            return {"data": json.dumps(route.json(scene)).encode(), "content_type": "application/json"}
        if route.form is not None:
            return {"data": route.form(scene), "content_type": "multipart/form-data"}
        return {}

    def proof(self, caller: str, body: Any) -> dict[str, str]:
        sent = {}
        if caller.endswith("by proxy"):
            sent |= {"X-User-Email": self.cast[caller.split()[0]].email, "X-Proxy-Secret": PROXY_SECRET}
        if caller.endswith("key"):
            sent["X-API-Key"] = self.keys[caller.removeprefix("signature + ")]
        if caller.startswith("signature"):
            moment = str(int(self.app.extensions["clock"]().timestamp()))
            sent["X-ML-Timestamp"] = moment
            sent["X-ML-Signature"] = plain_signature(body if isinstance(body, bytes) else b"", moment)
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
    make_scene: Callable[[], Scene],
) -> None:
    """Under every address that the route has."""
    asking, scene = Asking(app, cast, keys), make_scene()
    rules = [rule for rule in app.url_map.iter_rules(endpoint) if method in (rule.methods or ())]
    for rule in rules:
        found = {}
        for caller in CALLERS:
            # what changes rows is asked of new ones each time
            fresh = scene if method == "GET" else make_scene()
            found[caller] = asking.status(caller, method, rule, route, fresh)
        assert found == {caller: route.status(caller) for caller in CALLERS}, rule.rule
