"""Errors as people meet them: a designed page, for htmx a fragment; and the headers of every page."""

import pytest
from flask import Flask

from app.errors import DatabaseUnavailable
from app.models import Project
from tests.cast import Person
from tests.factories import some_id
from tests.html import LintClient

HTMX = {"HX-Request": "true"}


def test_a_page_that_is_not_there(client: LintClient, owner: Person) -> None:
    for who in (client, owner.client):
        answer = who.get("/nowhere")
        assert answer.status_code == 404
        assert "There is nothing at this address" in answer.text
        assert answer.headers["X-Request-ID"] in answer.text


def test_a_row_that_is_not_there_and_one_that_is_not_ours(project: Project, stranger: Person) -> None:
    assert "There is no such project." in stranger.client.get(f"/projects/{some_id()}").text
    answer = stranger.client.get(f"/projects/{project.id}")
    assert answer.status_code == 403 and "You have no access to this" in answer.text


def test_who_may_not_is_told_who_they_are_and_what_to_do(project: Project, stranger: Person) -> None:
    page = f"/projects/{project.id}"
    text = stranger.client.get(page).text
    assert stranger.email in text and "ask an owner of the project" in text
    assert 'action="/sign-out"' in text and "Sign in with another account" in text


def test_a_form_that_is_too_old_leads_to_a_fresh_one(owner: Person) -> None:
    """It has nothing to do with who somebody is."""
    answer = owner.client.post("/projects", data={"csrf_token": "of yesterday", "name": "Bark"})
    assert answer.status_code == 403 and "This form cannot be taken any more" in answer.text
    assert 'href="/projects">Load the page again</a>' in answer.text
    assert "ask an owner" not in answer.text and "Sign in with another account" not in answer.text
    assert owner.client.get("/projects").headers["Location"] == "/"
    assert "Load the page again</a>" not in owner.client.post("/sign-out").text


def test_what_passes_by_itself_says_when_and_leads_back(
    app: Flask, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailable(retry_after=7)

    client = owner.client
    monkeypatch.setattr("app.services.projects.listing", fail)
    answer = client.get("/?sort=name")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert "Try again in 7 seconds." in answer.text and 'href="/?sort=name">Try again' in answer.text
    assert owner.email not in answer.text  # who it is could not be read again


def test_htmx_gets_a_fragment(project: Project, stranger: Person) -> None:
    answer = stranger.client.get(f"/projects/{project.id}", headers=HTMX)
    assert answer.status_code == 403
    assert 'id="problem-message"' in answer.text and "<html" not in answer.text


def test_a_failure_tells_nothing_but_its_request(
    app: Flask, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr("app.services.projects.listing", fail)
    app.logger.disabled = True
    answer = owner.client.get("/")
    app.logger.disabled = False
    assert answer.status_code == 500
    assert "secret words" not in answer.text and answer.headers["X-Request-ID"] in answer.text


def test_the_headers_of_a_page(client: LintClient) -> None:
    headers = client.get("/sign-in").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_settings_of_htmx_refuse_what_the_policy_refuses(client: LintClient) -> None:
    text = client.get("/sign-in").text
    assert '"mode": "same-origin"' in text and '"includeIndicatorCSS": false' in text
