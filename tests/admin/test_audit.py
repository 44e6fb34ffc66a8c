"""/admin/audit: who did what to which row, newest first, narrowed and paged."""

import ast
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Project, Status
from app.services import audit
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, finalize, store, upload

APP = Path(__file__).resolve().parents[2] / "app"
AUDIT = "/admin/audit"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def shown(person: Person, **query: str) -> list[str]:
    """The ids of the events on the page."""
    answer = person.client.get(AUDIT, query_string=query)
    assert answer.status_code == 200
    return re.findall(r'<details id="e-([0-9a-f-]+)"', answer.text)


def write(app: Flask, *events: dict[str, Any]) -> list[str]:
    """Their ids, in the order given; what an event does not say is of no importance."""
    plain = {"actor_kind": "system", "actor_label": "system", "action": "thing.done"}
    plain |= {"subject_type": "project", "subject_id": "none"}
    with app.app_context():
        rows = [AuditEvent(**{**plain, **event}) for event in events]
        for row in rows:
            db.session.add(row)
            db.session.flush()
        db.session.commit()
        return [str(row.id) for row in rows]


@pytest.fixture
def clean(app: Flask, admin: Person) -> Person:
    """An admin, and nothing written down so far."""
    assert admin.client.get("/").status_code == 200
    with app.app_context():
        db.session.execute(db.delete(AuditEvent))
        db.session.commit()
    return admin


def test_who_may(check_only_admins: Callable[..., None]) -> None:
    check_only_admins([AUDIT], [])


def test_nothing_yet(clean: Person) -> None:
    assert "Changes appear here as they are made." in clean.client.get(AUDIT).text
    assert "No change fits all of this." in clean.client.get(f"{AUDIT}?who=nobody").text


def test_what_an_event_tells(world: World, project: Project, admin: Person, owner: Person) -> None:
    address = f"/projects/{project.id}/members"
    owner.client.submit(address, address, {"email": admin.email, "role": "editor"})
    [event] = world.rows(AuditEvent, action="project.member_set")
    text = admin.client.get(f"{AUDIT}?action=project.member_set").text
    for told in (
        owner.email,
        "Leaves",
        event.request_id,
        '<span class="key">role</span>',
        "<code>editor</code>",
        f'href="/admin/projects/{project.id}"',
        f'href="/admin/audit?actor={owner.id}"',
        f'href="/admin/audit?subject_type=project&amp;subject={project.id}"',
        f'href="/admin/audit?project={project.id}"',
        f'href="/admin/audit?request={event.request_id}"',
    ):
        assert told in text, told
    for link in re.findall(r'href="(/admin/audit\?[^"]+)"', text):
        assert f"e-{event.id}" in admin.client.get(link.replace("&amp;", "&")).text, link


FILTERS = [
    ({"who": "ANNA"}, {"actor_label": "anna@example.org"}),
    ({"who": "100%_"}, {"actor_label": "100%_@example.org"}),
    ({"kind": "pipeline"}, {"actor_kind": "pipeline"}),
    ({"action": "project.changed"}, {"action": "project.changed"}),
    ({"subject_type": "user_key"}, {"subject_type": "user_key"}),
    ({"subject": "abc123"}, {"subject_id": "abc123"}),
    ({"request": "r-1"}, {"request_id": "r-1"}),
    (
        {"project": "01900000-0000-7000-8000-000000000001"},
        {"project_id": "01900000-0000-7000-8000-000000000001"},
    ),
]


@pytest.mark.parametrize(("query", "columns"), FILTERS)
def test_filters(app: Flask, clean: Person, query: dict[str, str], columns: dict[str, Any]) -> None:
    columns = {name: UUID(v) if name == "project_id" else v for name, v in columns.items()}
    first, second = write(app, {}, columns)
    assert shown(clean) == [second, first]
    assert shown(clean, **query) == [second]


def test_what_a_person_did(app: Flask, world: World, clean: Person, stranger: Person) -> None:
    mine, _, _ = write(
        app, {"actor_id": stranger.id}, {"actor_id": clean.id}, {"actor_label": stranger.email}
    )
    assert shown(clean, actor=str(stranger.id)) == [mine]
    assert f"What {stranger.email} did" in clean.client.get(f"{AUDIT}?actor={stranger.id}").text


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ({"from": "2026-03-04T12:00"}, [12, 13, 36]),
        ({"from": "2026-03-05"}, [36]),
        ({"to": "2026-03-04"}, [0, 12, 13]),
        ({"to": "2026-03-04T12:00"}, [0, 12]),
        ({"from": "2026-03-04T14:00:00+01:00", "to": "2026-03-04T13:00"}, [13]),
        ({"from": "2026-03-06", "to": "2026-03-01"}, []),
    ],
)
def test_times_are_utc_and_inclusive(
    app: Flask, clean: Person, query: dict[str, str], hours: list[int]
) -> None:
    midnight = NOON - timedelta(hours=12)
    all_hours = [0, 12, 13, 36]
    ids = write(app, *({"created_at": midnight + timedelta(hours=h, seconds=30)} for h in all_hours))
    expected = [ids[all_hours.index(h)] for h in reversed(hours)]
    assert shown(clean, **query) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "king"},
        {"project": "nonsense"},
        {"actor": "0"},
        {"from": "yesterday"},
        {"to": "2026-02-31"},
        {"from": "0001-01-01T00:00+14:00"},
        {"to": "9999-12-31T23:59"},
        {"older": "nonsense"},
        {"newer": "WzEsMl0"},
        {
            "older": "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTEyOjAwIiwiMDE5MDAwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAwIl0"
        },
        {"who": "\0"},
    ],
)
def test_nonsense_counts_as_not_given(app: Flask, clean: Person, query: dict[str, str]) -> None:
    [event] = write(app, {})
    assert shown(clean, **query) == [event]


def test_seconds_are_left_out_so_that_links_lead_to_the_same(app: Flask, clean: Person) -> None:
    """The form shows minutes, and what it shows is what it does."""
    ids = write(app, *({"created_at": NOON + timedelta(seconds=n)} for n in range(0, 120, 2)))
    query = {"from": "2026-03-04T12:00:31", "to": "2026-03-04T12:01:01.5"}
    assert shown(clean, **query) == ids[:-51:-1]
    text = clean.client.get(AUDIT, query_string=query).text
    assert 'value="2026-03-04T12:00"' in text and 'value="2026-03-04T12:01"' in text
    older = link(clean, f"{AUDIT}?from={query['from']}&to={query['to']}", "next")
    assert older and re.findall(r'id="e-([0-9a-f-]+)"', clean.client.get(older).text) == ids[9::-1]


def test_the_form_shows_what_is_chosen_though_nothing_is_called_so(app: Flask, clean: Person) -> None:
    [event] = write(app, {"action": "thing.undone", "subject_type": "thing"})
    text = clean.client.get(f"{AUDIT}?action=thing.undone&subject_type=thing").text
    for value in ("thing.undone", "thing"):
        assert f'<option value="{value}" selected>{value}</option>' in text
    assert f"e-{event}" in text and "thing.undone</option>" not in clean.client.get(AUDIT).text


# --- pages -------------------------------------------------------------------------------------------------------


def link(person: Person, address: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', person.client.get(address).text)
    return found[1].replace("&amp;", "&") if found else None


def test_older_and_newer(app: Flask, clean: Person) -> None:
    """Several events of one moment, so that the time alone would not tell them apart; a filter goes along."""
    moments = [NOON + timedelta(seconds=n // 7) for n in range(120)]
    ids = write(
        app, *({"created_at": at, "action": "thing.done"} for at in moments), {"action": "other.done"}
    )
    wanted = ids[:120][::-1]
    start = f"{AUDIT}?action=thing.done"
    pages, address = [], start
    while True:
        pages.append(re.findall(r'id="e-([0-9a-f-]+)"', clean.client.get(address).text))
        following = link(clean, address, "next")
        if following is None:
            break
        assert "action=thing.done" in following
        address = following
    assert [len(page) for page in pages] == [50, 50, 20]
    assert [event for page in pages for event in page] == wanted
    back = link(clean, address, "prev")
    assert back and re.findall(r'id="e-([0-9a-f-]+)"', clean.client.get(back).text) == pages[1]
    first = link(clean, back, "prev")
    assert first and re.findall(r'id="e-([0-9a-f-]+)"', clean.client.get(first).text) == pages[0]
    assert link(clean, first, "prev") is None
    assert link(clean, start, "prev") is None


def test_what_is_written_meanwhile_moves_no_page(app: Flask, clean: Person) -> None:
    write(app, *({"created_at": NOON + timedelta(seconds=n)} for n in range(60)))
    older = link(clean, AUDIT, "next")
    assert older
    before = clean.client.get(older).text
    write(app, *({"created_at": NOON + timedelta(days=1)} for _ in range(3)))
    after = clean.client.get(older).text
    ids = r'id="e-([0-9a-f-]+)"'
    assert re.findall(ids, before) == re.findall(ids, after) != []
    assert len(shown(clean)) == 50


def test_the_queries_do_not_grow(
    app: Flask, world: World, clean: Person, count_queries: Callable[[], Any]
) -> None:
    first = world.project("First")
    write(app, {"project_id": first.id, "subject_id": str(first.id)}, _about(clean))
    with count_queries() as few:
        assert len(shown(clean)) == 2
    for n in range(8):
        person, project = world.person(f"p{n}@example.org"), world.project(f"P{n}")
        write(app, {"project_id": project.id, "subject_id": str(project.id)}, _about(person))
    with count_queries() as many:
        assert len(shown(clean)) > 16
    assert len(few) == len(many) <= 6


def _about(person: Person) -> dict[str, Any]:
    return {"subject_type": "user", "subject_id": str(person.id), "actor_id": person.id}


# --- everything that is written down -----------------------------------------------------------------------------


SUBJECTS = (
    "user|user_key|pipeline_key|project|image|analysis|analyses|annotations|artifact|webhook|webhook_target"
    "|export"
)


def trees() -> list[ast.Module]:
    """Every file that may record something; the list of names itself says nothing."""
    files = [path for path in APP.rglob("*.py") if path != APP / "services" / "audit.py"]
    return [ast.parse(path.read_text()) for path in files]


def recorded_actions() -> set[str]:
    """The actions that stand in the code, and those of the states an analysis moves to."""
    texts = {
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found = {text for text in texts if re.fullmatch(rf"({SUBJECTS})\.[a-z_]+", text)}
    found -= {"analyses.json", "analysis.json", "project.json"}  # names of files
    return found | {f"analysis.{status}" for status in Status} | {audit.EXPORTED}


def test_every_action_is_on_the_list_and_no_other() -> None:
    assert recorded_actions() == set(audit.ACTIONS)
    assert list(audit.ACTIONS) == sorted(set(audit.ACTIONS))


def test_actions_are_written_so_that_they_can_be_read_here() -> None:
    """As texts, but for these: what is put together otherwise would escape the list."""
    calls = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [ast.unparse(call.args[1]) for call in calls if ast.unparse(call.func) == "audit.record"]
    assert len(named) >= 17
    made = {name for name in named if not re.fullmatch(rf"'({SUBJECTS})\.[a-z_]+'", name)}
    assert made == {"action", "audit.EXPORTED", "f'analysis.{analysis.status}'"}


def test_every_action_of_the_services_is_readable(app: Flask, clean: Person) -> None:
    actions = sorted(recorded_actions())
    assert {"user.role_set", "project.changed", audit.EXPORTED, "annotations.stored"} <= set(actions)
    assert len(actions) >= 20
    deep = {"status": "x", "nested": {"list": [1, None, True, {"a": "<script>"}]}}
    for subject_type in audit.SUBJECTS.values():
        with app.app_context():
            db.session.execute(db.delete(AuditEvent))
            db.session.commit()
        write(
            app,
            *(
                {"action": name, "before": None, "after": deep, "subject_type": subject_type}
                for name in actions
            ),
        )
        text = clean.client.get(AUDIT).text
        for name in actions:
            assert f"<b>{name}</b>" in text and f'<option value="{name}"' in text, (name, subject_type)
        assert "&lt;script&gt;" in text and "<script>" not in text


def test_a_real_day(
    app: Flask,
    world: World,
    project: Project,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    admin: Person,
) -> None:
    store(pipeline, analysis, [box()])
    upload(app, pipeline, analysis, "log", b"done")
    finalize(pipeline, analysis)
    text = admin.client.get(AUDIT).text
    for action in ("image.uploaded", "annotations.stored", "artifact.presigned", "analysis.completed"):
        assert f"<b>{action}</b>" in text
    for page in (f"/images/{image.id}", f"/analyses/{analysis.id}"):
        assert f'href="{page}"' in text and admin.client.get(page).status_code == 200


def test_without_analyses(
    make_app: Any, project: Project, image: Image, analysis: Analysis, pipeline: Pipeline, admin: Person
) -> None:
    store(pipeline, analysis, [box()])
    finalize(pipeline, analysis)
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), admin.id, admin.email, admin.key)
    text = off.client.get(AUDIT).text
    assert "image.uploaded" in text
    assert (
        "analys" not in text and "annotation" not in text and "artifact" not in text and "xport" not in text
    )


def test_what_cannot_be_read_is_said_beside_its_field(admin: Person) -> None:
    text = admin.client.get("/admin/audit", query_string={"project": "Leaves", "from": "soon"}).text
    assert 'id="project-fault"' in text and "This is no id." in text and 'value="Leaves"' in text
    assert 'id="from-fault"' in text and "This is no time." in text
