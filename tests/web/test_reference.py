"""GET /reference: the API as a page, for anyone."""

import re
from typing import Any

from flask import Flask

from app.annotations import ALIASES, TYPES
from app.errors import CODES
from app.openapi import document
from app.openapi.problems import EXTRAS
from tests.cast import Person
from tests.html import LintClient, ids_of, parse_page
from tests.support.raised import raised


def test_anyone_may_read_it(client: LintClient) -> None:
    answer = client.get("/reference")
    assert answer.status_code == 200
    assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert 'href="/sign-in">Sign in</a>' in answer.text


def test_who_is_signed_in_keeps_the_account_menu(owner: Person) -> None:
    page = owner.client.get("/reference").text
    assert owner.email in page and ">Sign in</a>" not in page


def test_takes_no_other_method(client: LintClient) -> None:
    assert client.post("/reference").status_code == 405


def test_the_menu_and_the_sign_in_page_lead_to_it(owner: Person, client: LintClient) -> None:
    for page in (owner.client.get("/").text, client.get("/sign-in").text):
        assert 'href="/reference"' in page


def test_has_every_operation_type_and_error(client: LintClient, app: Flask) -> None:
    page = client.get("/reference").text
    ids = set(ids_of(parse_page(page)[0]))
    for path, item in document(app).content["paths"].items():
        assert f">{path}</code>" in page
        assert {operation["operationId"] for operation in item.values()} <= ids
    assert {f"type-{name}" for name in (*TYPES, *ALIASES)} <= ids
    told = {name for name in ids if name.startswith("error-")}
    reserved = {f"error-{code}" for code in CODES.keys() - raised()}
    assert told == {f"error-{code}" for code in CODES} - reserved | {"error-internal-error"}


def test_has_every_header_and_member_of_the_document(client: LintClient, app: Flask) -> None:
    page = client.get("/reference").text
    components = document(app).content["components"]
    proofs = {one.get("name", "Authorization") for one in components["securitySchemes"].values()}
    headers = set(components["headers"])
    assert proofs >= {"X-API-Key", "Authorization", "X-User-Email", "X-ML-Signature", "loupe"}
    assert headers >= {"ETag", "X-Total-Count", "Link", "Retry-After", "X-Request-ID"}
    assert [name for name in proofs | headers if f"<dt><code>{name}</code>" not in page] == []
    members = {name for extra in EXTRAS.values() for name in extra}
    assert members and [name for name in members if f"<code>{name}</code>" not in page] == []


def test_an_answer_names_its_own_headers(client: LintClient) -> None:
    page = client.get("/reference").text
    listing = page[page.index('id="list_images"') : page.index('id="upload_image"')]
    headers = re.findall(r'<code class="header">([^<]+)<', listing)
    assert {"X-Total-Count", "Link", "WWW-Authenticate", "Retry-After"} == set(headers)


def test_an_upload_is_told_beside_presigning(client: LintClient) -> None:
    page = client.get("/reference").text
    assert page.index('id="presign_artifact"') < page.index('id="put_artifact"')
    assert ">upload_url</code>" in page


def test_its_links_lead_somewhere(client: LintClient) -> None:
    page = client.get("/reference").text
    ids = set(ids_of(parse_page(page)[0]))
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets and targets <= ids


def test_no_text_shows_how_it_is_marked(client: LintClient) -> None:
    assert "`" not in client.get("/reference").text


def test_without_analyses_there_is_no_trace_of_them(make_app: Any) -> None:
    page = LintClient(make_app(ML_ANALYSIS_ENABLED="false"), Flask.response_class).get("/reference")
    assert page.status_code == 200
    ids = ids_of(parse_page(page.text)[0])
    assert not [name for name in ids if name.startswith(("type-", "signing", "annotation", "analys"))]
    assert "/api/analyses" not in page.text
