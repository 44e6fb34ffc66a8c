"""Behind the nginx that deploy/nginx.conf makes: slow clients harm nobody, and nothing is changed on the way."""

import contextlib
import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from app.models import Analysis, Annotation, User
from tests.cast import PASSWORD, Person
from tests.conftest import LiveServer
from tests.factories import picture
from tests.steps import box
from tests.support import nginx
from tests.support.selection import IN_CI
from tests.support.server import free_port

pytestmark = pytest.mark.one_database

MIB = 1024 * 1024
PROXY_SECRET = "test-proxy-secret-0123456789"


@dataclass(frozen=True)
class Behind(LiveServer):
    """The server, asked through nginx."""

    front: str = ""

    @property
    def url(self) -> str:
        return self.front


@pytest.fixture(scope="module")
def behind(_serve: Callable[..., LiveServer]) -> Iterator[Behind]:
    path = nginx.executable()
    if path is None and IN_CI:
        pytest.fail("no nginx: CI must have one")
    if path is None:
        pytest.skip("THE TESTS BEHIND NGINX DID NOT RUN: no nginx here (Debian: apt-get install nginx-light)")
    live = _serve(TRUSTED_PROXIES="1", AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    with (
        tempfile.TemporaryDirectory(prefix="loupe-nginx-") as folder,
        nginx.served(path, live.gunicorn.port, Path(folder)) as url,
    ):
        yield Behind(live.gunicorn, live.world, live.environ, live.instance, url)


@pytest.fixture
def person(behind: Behind) -> Person:
    return behind.world.person(f"editor-{time.monotonic_ns()}@example.org")


@pytest.fixture
def analysis(behind: Behind, person: Person) -> Analysis:
    world = behind.world
    return world.analysis(world.image(world.project("Leaves", editor=person)), "processing")


def line_of(behind: Behind, request_id: str) -> dict[str, Any]:
    """The one line of a request; it is written a moment after the answer has come."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [json.loads(line) for line in behind.gunicorn.log.read_text().splitlines()]
        mine: list[dict[str, Any]] = [line for line in found if line.get("request_id") == request_id]
        if mine:
            assert len(mine) == 1
            return mine[0]
        time.sleep(0.05)
    raise AssertionError(f"the log has no line of {request_id}")


HALVES = {
    "head": b"GET /sign-in HTTP/1.1\r\nHost: loupe\r\nX-Slow: ",
    "body": b"POST /api/projects HTTP/1.1\r\nHost: loupe\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400,
}


def test_four_hundred_half_sent_requests_keep_nobody_waiting(behind: Behind, person: Person) -> None:
    """20 of 20 honest ones are answered. A gunicorn process that had these to itself would wait for them instead."""
    seconds: list[float] = []

    def ask() -> None:
        started = time.monotonic()
        assert behind.api(person, "GET", "/api/projects").status_code == 200
        seconds.append(time.monotonic() - started)

    place = urlsplit(behind.url)
    with contextlib.ExitStack() as stack:
        for number in range(400):
            client = stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=10))
            client.sendall(HALVES["head" if number % 2 else "body"])
        honest = [threading.Thread(target=ask) for _ in range(20)]
        for thread in honest:
            thread.start()
        for thread in honest:
            thread.join(30)
    assert len(seconds) == 20
    assert max(seconds) < 10


def test_signed_bulk_upload_and_export(behind: Behind, person: Person, analysis: Analysis) -> None:
    path = f"/api/analyses/{analysis.id}/annotations:bulk"
    stored = behind.pipeline.post(path, {"annotations": [box() for _ in range(5000)]})
    assert (stored.status_code, stored.json()["inserted"]) == (200, 5000)
    assert behind.world.count(Annotation, analysis_id=analysis.id) == 5000
    export = behind.api(person, "GET", f"/api/analyses/{analysis.id}/export?format=csv")
    assert (export.status_code, export.text.count("\n")) == (200, 5001)
    assert export.headers["Content-Encoding"] == "gzip"
    plain = behind.api(
        person,
        "GET",
        f"/api/analyses/{analysis.id}/export?format=csv",
        headers={"Accept-Encoding": "identity"},
    )
    assert "Content-Encoding" not in plain.headers
    assert plain.content == export.content
    project_id = behind.api(person, "GET", f"/api/images/{analysis.image_id}").json()["project_id"]
    sent = behind.api(
        person, "POST", f"/api/projects/{project_id}/images", files={"file": ("a.png", picture())}
    )
    assert sent.status_code == 201, sent.text
    content = behind.api(person, "GET", f"/api/images/{sent.json()['id']}/content")
    assert content.content == picture()
    assert "Content-Encoding" not in content.headers


def test_a_body_without_a_length_is_signed_like_any_other(behind: Behind, analysis: Analysis) -> None:
    """nginx gives it its length; the bytes stay."""

    def send(method: str, path: str, body: bytes, headers: object) -> requests.Response:
        return requests.request(
            method, behind.url + path, data=iter([body]), headers=dict(headers), timeout=30
        )  # type: ignore[call-overload, no-any-return]

    chunked = replace(behind.pipeline, send=send)
    path = f"/api/analyses/{analysis.id}/annotations:bulk"
    assert chunked.post(path, {"annotations": [box()]}).status_code == 200


def test_signed_addresses_name_the_front_and_work_through_it(behind: Behind, analysis: Analysis) -> None:
    wanted = {"artifact_type": "heatmap", "filename": "a.b_c-d.png", "size": len(picture())}
    signed = behind.pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).json()
    assert signed["upload_url"].startswith(behind.url + "/files/")
    put = requests.put(signed["upload_url"], data=picture(), headers=signed["headers"], timeout=30)
    assert put.status_code == 200, put.text
    changed = signed["upload_url"].replace("a.b_c-d", "a.b_c-e")
    assert requests.put(changed, data=picture(), headers=signed["headers"], timeout=30).status_code == 403


@pytest.mark.parametrize("size", [32 * MIB + 1, 40 * MIB])
@pytest.mark.parametrize("path", ["/api/projects", "/files/ml_outputs/x/y"])
def test_too_large_has_one_shape_whoever_refuses(behind: Behind, size: int, path: str) -> None:
    method = "PUT" if path.startswith("/files/") else "POST"
    answer = requests.request(method, behind.url + path, data=b"x" * size, timeout=60)
    if path.startswith("/files/") and size < 33 * MIB:
        assert answer.status_code == 403, "the address is looked at before the size"
        return
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["status"]) == ("payload-too-large", 413)
    assert body["request_id"] == answer.headers["X-Request-ID"]


def test_the_page_takes_more_than_the_api(behind: Behind, person: Person, analysis: Analysis) -> None:
    """Two large files in one form, 60 MB together: Loupe looks at each and says what is wrong with it."""
    project_id = behind.api(person, "GET", f"/api/images/{analysis.image_id}").json()["project_id"]
    with signed_in(behind, person) as session:
        page = session.get(f"{behind.url}/projects/{project_id}", timeout=30).text
        files = [("file", (f"{n}.png", b"x" * 30_000_000)) for n in range(2)]
        form = {"csrf_token": token_in(page)}
        answer = session.post(
            f"{behind.url}/projects/{project_id}/images", data=form, files=files, timeout=60
        )
    assert answer.status_code == 422
    assert "0.png" in answer.text and "1.png" in answer.text


def token_in(page: str) -> str:
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]


@contextlib.contextmanager
def signed_in(behind: Behind, person: Person) -> Iterator[requests.Session]:
    """As a browser does it, with the Origin of the front."""
    with requests.Session() as session:
        session.headers["Origin"] = behind.url
        form = session.get(behind.url + "/sign-in", timeout=30)
        assert "Content-Encoding" not in form.headers, "a page with a token is not compressed"
        fields = {"csrf_token": token_in(form.text), "email": person.email, "password": PASSWORD}
        answer = session.post(behind.url + "/sign-in", data=fields, timeout=30, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        yield session


def test_pages_and_fragments(behind: Behind, person: Person, analysis: Analysis) -> None:
    with signed_in(behind, person) as session:
        page = session.get(f"{behind.url}/images/{analysis.image_id}", timeout=30)
        panel = session.get(
            f"{behind.url}/images/{analysis.image_id}/panel", headers={"HX-Request": "true"}, timeout=30
        )
    assert (page.status_code, "<html" in page.text) == (200, True)
    assert (panel.status_code, "<html" in panel.text) == (200, False)
    style = requests.get(behind.url + "/static/style.css", timeout=30)
    assert style.headers["Content-Encoding"] == "gzip"


def test_nobody_signs_in_by_a_header_of_their_own(behind: Behind) -> None:
    headers = {"X-User-Email": "intruder@example.org", "X-Proxy-Secret": PROXY_SECRET}
    straight = f"http://127.0.0.1:{behind.gunicorn.port}/api/projects"
    assert requests.get(behind.url + "/api/projects", headers=headers, timeout=30).status_code == 401
    assert behind.world.rows(User, email="intruder@example.org") == []
    assert requests.get(straight, headers=headers, timeout=30).status_code == 200, "the proxy dropped them"


def test_the_log_has_the_clients_own_address_and_request_id(behind: Behind) -> None:
    place = urlsplit(behind.url)
    connection = http.client.HTTPConnection(
        str(place.hostname), place.port, timeout=30, source_address=("127.0.0.7", 0)
    )
    with contextlib.closing(connection):
        spoofed = {
            "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Host": "evil.example",
            "X-Request-ID": "mine-9",
        }
        connection.request("GET", "/", headers=spoofed)
        answer = connection.getresponse()
        assert answer.getheader("X-Request-ID") == "mine-9"
        assert answer.getheader("Location") == "/sign-in"
    line = line_of(behind, "mine-9")
    assert (line["remote"], line["route"]) == ("127.0.0.7", "/")


def test_while_nobody_answers_programs_are_told_so(behind: Behind, tmp_path: Path) -> None:
    path = nginx.executable()
    assert path is not None
    del behind  # says where there is no nginx
    with nginx.served(path, free_port(), tmp_path) as url:
        for address in ("/api/projects", "/files/ml_outputs/x/y", "/api/projects/1/images"):
            answer = requests.get(url + address, timeout=10)
            assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
            assert int(answer.headers["Retry-After"]) > 0
            body = answer.json()
            assert (body["status"], body["code"]) == (503, "unavailable")
            assert body["request_id"] == answer.headers["X-Request-ID"]
        assert requests.get(url + "/", timeout=10).status_code == 502
