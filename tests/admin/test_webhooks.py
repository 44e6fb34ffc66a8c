"""/admin/webhooks: what was told, what the receiver said to it, sending it again, and an address that has gone."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, AuditEvent, WebhookDelivery, WebhookTarget
from app.models.columns import now
from app.services import webhooks
from tests.cast import Person
from tests.factories import WEBHOOKS, World, some_id

PAGE = "/admin/webhooks"
ENABLE = f"{PAGE}/enable"
SECRET_URL = "https://ann:passw0rd@hooks.invalid:8443/loupe?token=t0ken"
ATTEMPT = {"at": "2026-03-04T12:00:01.5+00:00", "seconds": 0.1234, "status": 500, "answer": "no room"}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(**{**WEBHOOKS, "ML_WEBHOOK_URL": SECRET_URL})


@pytest.fixture
def given_up(world: World, analysis: Analysis) -> WebhookDelivery:
    return world.delivery(analysis, "analysis.failed", attempts=[ATTEMPT])


def shown(person: Person, address: str = PAGE) -> list[str]:
    answer = person.client.get(address)
    assert answer.status_code == 200
    return re.findall(r'<details id="d-([0-9a-f-]+)"', answer.text)


def link(person: Person, address: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', person.client.get(address).text)
    return unescape(found[1]) if found else None


def disable(app: Flask) -> None:
    with app.app_context():
        url_hash = webhooks.hash_of(app.config["ML_WEBHOOK_URL"])
        db.session.add(WebhookTarget(url_hash=url_hash, disabled_at=now()))
        db.session.commit()


def test_who_may(check_only_admins: Callable[..., None], given_up: WebhookDelivery) -> None:
    check_only_admins([PAGE], [ENABLE, f"{PAGE}/{given_up.id}/redeliver"])


@pytest.mark.parametrize("switch", ["ML_ANALYSIS_ENABLED", "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"])
def test_switched_off(app: Flask, admin: Person, given_up: WebhookDelivery, switch: str) -> None:
    assert f'href="{PAGE}"' in admin.client.get("/admin/users").text
    app.config[switch] = False
    assert f'href="{PAGE}"' not in admin.client.get("/admin/users").text
    redeliver = f"{PAGE}/{given_up.id}/redeliver"
    for address in (PAGE, ENABLE, redeliver):
        assert admin.client.get(address).status_code == 404
    for address in (ENABLE, redeliver):
        assert admin.client.post(address).status_code == 404


def test_nothing_yet(admin: Person) -> None:
    assert "The first one is written when an analysis is made." in admin.client.get(PAGE).text
    assert "None is given up" in admin.client.get(f"{PAGE}?state=given-up").text


def test_what_a_webhook_tells(admin: Person, analysis: Analysis, given_up: WebhookDelivery) -> None:
    text = admin.client.get(PAGE).text
    for told in (
        "<b>analysis.failed</b>",
        "given up",
        f'href="/analyses/{analysis.id}"',
        "2026-03-04 12:00:01</span> <b>500</b>",
        "0.12 s",
        "no room",
        str(given_up.id),
    ):
        assert told in text, told
    assert admin.client.get(f"/analyses/{analysis.id}").status_code == 200


def test_the_address_without_its_secrets(admin: Person) -> None:
    for page in (PAGE, "/admin/settings"):
        text = admin.client.get(page).text
        assert "https://hooks.invalid:8443/loupe" in text
        assert "ann:" not in text and "passw0rd" not in text and "t0ken" not in text


@pytest.mark.parametrize(
    "said",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</code></li></ol><form action=//evil.example>",
        "{{ 7 * 7 }}",
        "\u202egnp.exe",
        "x" * 500,
    ],
)
def test_hostile_answers(world: World, admin: Person, analysis: Analysis, said: str) -> None:
    """Beside the test client's own look at every page: they stand there as text."""
    attempts = [ATTEMPT | {"answer": said}, {"at": ATTEMPT["at"], "seconds": 1.0, "error": said}]
    world.delivery(analysis, attempts=attempts)
    text = admin.client.get(PAGE).text
    assert re.findall(r'<code class="answer">(.*?)</code>', text, re.S) == [escaped(said)]
    assert f"<b>{escaped(said)}</b>" in text
    assert "<script>alert" not in text and "<img" not in text and "evil.example>" not in text


def escaped(text: str) -> str:
    for char, entity in {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}.items():
        text = text.replace(char, entity)
    return text


def test_states(world: World, admin: Person, analysis: Analysis, given_up: WebhookDelivery) -> None:
    waiting = world.delivery(analysis, next_attempt_at=now())
    delivered = world.delivery(analysis, delivered_at=now())
    newest_first = [str(row.id) for row in (delivered, waiting, given_up)]
    assert shown(admin) == shown(admin, f"{PAGE}?state=nonsense") == newest_first
    for state, row in (("waiting", waiting), ("delivered", delivered), ("given-up", given_up)):
        assert shown(admin, f"{PAGE}?state={state}") == [str(row.id)]
        assert f'<option value="{state}" selected>' in admin.client.get(f"{PAGE}?state={state}").text


def test_pages(world: World, admin: Person, analysis: Analysis) -> None:
    """Several of one moment; the filter goes along; what is written meanwhile moves no page."""
    moment = now()
    rows = [
        world.delivery(analysis, created_at=moment + timedelta(seconds=n // 7), delivered_at=moment)
        for n in range(60)
    ]
    wanted = [str(row.id) for row in reversed(rows)]
    start = f"{PAGE}?state=delivered"
    older = link(admin, start, "next")
    assert older and "state=delivered" in older
    assert shown(admin, start) == wanted[:50] and shown(admin, older) == wanted[50:]
    world.delivery(analysis, created_at=moment + timedelta(days=1), delivered_at=moment)
    assert shown(admin, older) == wanted[50:] and link(admin, older, "next") is None
    newer = link(admin, older, "prev")
    assert newer and shown(admin, newer) == wanted[:50]
    assert shown(admin, f"{PAGE}?older=nonsense&newer=WzEsMl0") == shown(admin)


def test_the_queries_do_not_grow(
    world: World, admin: Person, analysis: Analysis, count_queries: Callable[[], Any]
) -> None:
    world.delivery(analysis)
    assert len(shown(admin)) == 1
    with count_queries() as few:
        assert len(shown(admin)) == 1
    for _ in range(9):
        world.delivery(analysis, attempts=[ATTEMPT] * 8)
    with count_queries() as many:
        assert len(shown(admin)) == 10
    assert len(few) == len(many) <= 5


# --- sending again -----------------------------------------------------------------------------------------------


def test_redeliver(app: Flask, world: World, admin: Person, given_up: WebhookDelivery) -> None:
    answer = admin.client.submit(PAGE, f"{PAGE}/{given_up.id}/redeliver", {})
    assert (answer.status_code, answer.location) == (303, PAGE)
    row = world.reload(given_up)
    assert row.state == "waiting" and row.attempts == [ATTEMPT] and row.body == given_up.body
    assert abs(row.next_attempt_at - now()) < timedelta(minutes=1)
    [event] = world.rows(AuditEvent, action="webhook.redelivered")
    assert (event.subject_type, event.subject_id, event.actor_id) == ("webhook", str(row.id), admin.id)
    assert event.before == {"state": "given-up", "attempts": 1}
    assert event.after == {"event": "analysis.failed", "analysis_id": str(row.analysis_id)}
    assert "sent again" in admin.client.get(PAGE).text
    with app.app_context():
        claimed = webhooks.claim(SECRET_URL, now() + timedelta(minutes=1))
        assert claimed and claimed.id == row.id
        db.session.rollback()


def test_one_that_is_not_there(admin: Person, token: Callable[[Person], str]) -> None:
    address = f"{PAGE}/{some_id()}/redeliver"
    assert admin.client.post(address, data={"csrf_token": token(admin)}).status_code == 404
    for opened in (address, ENABLE):  # by a reload
        answer = admin.client.get(opened)
        assert (answer.status_code, answer.location) == (303, PAGE)


def test_an_address_that_has_gone(app: Flask, world: World, admin: Person, analysis: Analysis) -> None:
    world.delivery(analysis, next_attempt_at=now())
    assert "is disabled" not in admin.client.get(PAGE).text
    disable(app)
    text = admin.client.get(PAGE).text
    assert "The address is disabled" in text and "1 waiting" in text and "when the address is enabled" in text
    answer = admin.client.submit(PAGE, ENABLE, {})
    assert (answer.status_code, answer.location) == (303, PAGE)
    assert "is disabled" not in admin.client.get(PAGE).text
    [event] = world.rows(AuditEvent, action="webhook_target.enabled")
    assert event.after == {"address": "https://hooks.invalid:8443/loupe"} and event.actor_id == admin.id
    assert event.subject_id == webhooks.hash_of(SECRET_URL)
    assert "webhook_target.enabled" in admin.client.get("/admin/audit").text
