"""The headers every answer carries, and the cookies."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from flask import Flask

from app.models import Image, Project
from tests.cast import Person
from tests.fakes import FixedClock
from tests.html import LintClient
from tests.support.s3 import Bucket

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{bucket}; font-src 'self'; "
    "connect-src 'self'{bucket}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; "
    "manifest-src 'self'"
)
COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_on_every_kind_of_answer(client: LintClient, owner: Person, project: Project, image: Image) -> None:
    answers = [
        client.get("/sign-in"),
        client.get("/"),
        client.get("/nothing"),
        client.get("/healthz"),
        client.get("/api/projects"),
        client.get("/static/style.css", buffered=True),
        client.post("/sign-in"),
        owner.client.get("/"),
        owner.client.get(f"/projects/{project.id}"),
        owner.client.get(f"/images/{image.id}"),
        owner.api("GET", "/api/projects"),
        owner.api("GET", f"/api/images/{image.id}/content", buffered=True),
        owner.api("DELETE", "/api/projects"),
    ]
    for answer in answers:
        where = f"{answer.request.method} {answer.request.path}"
        assert answer.headers["Content-Security-Policy"] == POLICY.format(bucket=""), where
        for name, value in COMMON.items():
            assert answer.headers.getlist(name) == [value], f"{where} {name}"
        assert answer.headers["X-Request-ID"], where
        assert "Server" not in answer.headers and "X-Powered-By" not in answer.headers


def test_pages_are_not_kept_and_pictures_are_asked_for(owner: Person, project: Project, image: Image) -> None:
    for path in ("/", f"/projects/{project.id}", f"/images/{image.id}", "/api/projects", "/nothing"):
        assert owner.client.get(path).headers["Cache-Control"] == "no-store", path
    for path in (f"/api/images/{image.id}/content", f"/images/{image.id}/content"):
        answer = owner.client.get(path, buffered=True)
        assert (answer.headers["Cache-Control"], bool(answer.headers["ETag"])) == ("private, no-cache", True)


@pytest.mark.parametrize("public", [None, "https://files.example.org"])
def test_the_bucket_is_allowed_for_pictures_and_nothing_else(
    make_app: Callable[..., Flask], s3: Bucket, public: str | None
) -> None:
    app = make_app(**s3.environ, **({"S3_PUBLIC_ENDPOINT": public + "/store"} if public else {}))
    policy = app.test_client().get("/sign-in").headers["Content-Security-Policy"]
    assert policy == POLICY.format(bucket=f" {public or s3.endpoint}")


def cookie_of(app: Flask, person: Person, base_url: str) -> tuple[str, list[str]]:
    client = LintClient(app, app.response_class)
    data = {"email": person.email, "password": person.password}
    answer = client.submit("/sign-in", "/sign-in", data, base_url=base_url)
    assert answer.status_code == 303, answer.text
    [header] = answer.headers.getlist("Set-Cookie")
    name, *attributes = header.split("; ")
    return name.partition("=")[0], attributes


def test_the_cookie(app: Flask, owner: Person) -> None:
    name, attributes = cookie_of(app, owner, "http://localhost")
    assert name == "loupe"
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes
    assert not [text for text in attributes if text.startswith("Domain")]


def test_the_cookie_behind_https(make_app: Callable[..., Flask], owner: Person) -> None:
    app = make_app(PUBLIC_URL="https://loupe.example.org")
    client = LintClient(app, app.response_class)
    base = "https://loupe.example.org"
    page = client.get("/sign-in", base_url=base)
    [header] = page.headers.getlist("Set-Cookie")
    name, *attributes = header.split("; ")
    assert name.startswith("__Host-loupe=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Secure"} <= set(attributes)
    assert not [text for text in attributes if text.startswith("Domain")]


def test_the_cookie_is_written_once_a_day_and_never_with_what_is_kept(
    owner: Person, image: Image, clock: FixedClock
) -> None:
    def cookies(path: str) -> list[str]:
        return owner.client.get(path, buffered=True).headers.getlist("Set-Cookie")

    kept = f"/images/{image.id}/content?v={image.sha256[:16]}"
    owner.client.get("/")  # signs in, and gets the token of its forms
    assert cookies("/") == cookies(kept) == cookies("/static/style.css") == []
    clock.advance(days=1)
    assert cookies(kept) == cookies("/static/style.css") == []
    (renewed,) = cookies("/")
    expires = re.search("Expires=([^;]+)", renewed)
    assert expires and parsedate_to_datetime(expires[1]) - datetime.now(UTC) > timedelta(days=14)
    assert cookies("/") == []
    answer = owner.client.get(kept, buffered=True)
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert "Cookie" in answer.vary
