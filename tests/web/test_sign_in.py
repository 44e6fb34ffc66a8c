"""GET and POST /sign-in, POST /sign-out."""

import re
import time

import pytest
from flask import Flask
from itsdangerous import TimestampSigner

from tests.cast import PASSWORD, Person
from tests.factories import World
from tests.html import LintClient

WRONG = "The e-mail address or the password is not right."


def sign_in(client: LintClient, email: str, password: str, page: str = "/sign-in"):  # type: ignore[no-untyped-def]
    return client.submit(page, "/sign-in", {"email": email, "password": password})


def test_a_page_leads_to_the_sign_in_and_back(client: LintClient, owner: Person) -> None:
    answer = client.get("/?page=2")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/%3Fpage%3D2")
    answer = sign_in(client, owner.email, PASSWORD, answer.location)
    assert (answer.status_code, answer.location) == (303, "/?page=2")
    assert client.get("/").status_code == 200


def test_a_field_without_a_name_is_passed_over(client: LintClient, owner: Person) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
    assert token
    fields = {b'; name="email"': owner.email, b'; name="password"': PASSWORD, b"": "1", b'; name="typo"': "1"}
    fields[b'; name="csrf_token"'] = token[1]
    part = b"--b\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n"
    body = b"".join(part % (name, value.encode()) for name, value in fields.items()) + b"--b--\r\n"
    answer = client.post("/sign-in", data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 303


def test_an_address_is_matched_in_any_case_and_without_spaces(client: LintClient, owner: Person) -> None:
    assert sign_in(client, f"  {owner.email.upper()} ", PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("email", "password"), [("owner@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("", "")]
)
def test_a_wrong_pair_is_refused_with_one_sentence(
    client: LintClient, owner: Person, email: str, password: str
) -> None:
    answer = sign_in(client, email, password)
    assert answer.status_code == 401
    assert WRONG in answer.text
    assert client.get("/").status_code == 303


def test_a_disabled_account_stays_out(client: LintClient, app: Flask, owner: Person) -> None:
    client.get("/sign-in")
    app.test_cli_runner().invoke(args=["user", "disable", owner.email])
    assert sign_in(client, owner.email, PASSWORD).status_code == 401


def test_a_new_password_ends_every_session(app: Flask, owner: Person) -> None:
    assert owner.client.get("/").status_code == 200
    app.test_cli_runner().invoke(args=["user", "password", owner.email])
    assert owner.client.get("/").status_code == 303


@pytest.mark.parametrize(
    "foreign",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\nevil", "x"],
)
def test_nobody_is_sent_to_another_site(client: LintClient, owner: Person, foreign: str) -> None:
    client.get("/sign-in")
    client.get("/sign-in", query_string={"next": foreign})
    page = client.get("/sign-in", query_string={"next": foreign})
    assert foreign not in page.text or foreign == "x"
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": token, "email": owner.email, "password": PASSWORD, "next": foreign}
    assert client.post("/sign-in", data=form).location == "/"


def test_the_session_is_made_anew(client: LintClient, owner: Person) -> None:
    client.get("/sign-in")
    before = client.get_cookie("loupe")
    sign_in(client, owner.email, PASSWORD)
    after = client.get_cookie("loupe")
    assert before and after and before.value != after.value
    assert after.http_only and after.same_site == "Lax"


def test_whoever_is_signed_in_passes_by(owner: Person) -> None:
    assert owner.client.get("/sign-in").location == "/"


@pytest.mark.parametrize(("days", "status"), [(14, 200), (14.99, 200), (15.01, 303)])
def test_a_session_ends_when_it_was_not_used(
    owner: Person, monkeypatch: pytest.MonkeyPatch, days: float, status: int
) -> None:
    """After 14 days, and up to the day for which its cookie is not renewed."""
    assert owner.client.get("/").status_code == 200
    later = int(time.time() + days * 24 * 3600)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: later)
    assert owner.client.get("/").status_code == status


def test_signing_out(owner: Person) -> None:
    answer = owner.client.submit("/", "/sign-out")
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert owner.client.get("/").status_code == 303


def test_signing_out_takes_a_token_and_a_post(owner: Person) -> None:
    owner.client.get("/")
    assert owner.client.post("/sign-out").status_code == 403
    assert owner.client.get("/sign-out").status_code == 405
    assert owner.client.get("/").status_code == 200


def test_another_site_cannot_sign_anybody_in(client: LintClient, owner: Person) -> None:
    token = client.get("/sign-in").text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": token, "email": owner.email, "password": PASSWORD}
    answer = client.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_an_ended_session_tells_htmx_where_to_go(client: LintClient, world: World) -> None:
    answer = client.get("/", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/sign-in")


@pytest.mark.parametrize("broken", ["http://[", "http://]x", "http://[::1"])
def test_an_address_that_cannot_be_read_is_no_fault_of_the_server(
    client: LintClient, owner: Person, broken: str
) -> None:
    """As an origin it is foreign, as the page somebody came from it is none."""
    assert client.post("/sign-in", headers={"Origin": broken}).status_code == 403
    assert owner.client.post("/account", headers={"Origin": broken}).status_code == 403
    answer = client.get("/", headers={"HX-Request": "true", "Referer": broken})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in")
    answer = client.post("/account", headers={"Referer": broken})
    assert (answer.status_code, answer.location) == (303, "/sign-in")
