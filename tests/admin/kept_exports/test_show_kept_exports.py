"""GET /admin/exports/kept: the list of the page, and its polling."""

import re
from collections.abc import Callable
from typing import Any

from flask import Flask

from app.extensions import db
from app.models import Analysis, Export
from tests.cast import Person
from tests.factories import World
from tests.support.kept_exports import EXPORTS, file_of, stepwise


def poll(person: Person, address: str) -> Any:
    return person.client.get(address, headers={"HX-Request": "true"})


def poll_address(text: str) -> str | None:
    match = re.search(r'id="kept"[^>]* hx-get="([^"]+)"', text)
    return match[1].replace("&amp;", "&") if match else None


def test_the_page_polls_until_all_has_ended(
    app: Flask, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    assert poll_address(admin.client.get(EXPORTS).text) is None
    export = ask()
    address = poll_address(admin.client.get(EXPORTS).text)
    assert address
    assert poll(admin, address).status_code == 204, "nothing has changed"
    assert "Kept exports" in admin.client.get(address).text, "it opens as a page too"
    with app.app_context():
        steps = stepwise()
        assert next(steps) == ""
        begun = poll(admin, address)
        assert begun.status_code == 200 and "being written" in begun.text and "<progress" in begun.text
        address = poll_address(begun.text)
        assert address and 'id="announcer"' not in begun.text
        list(steps)
    ended = poll(admin, address)
    assert ended.status_code == 200 and poll_address(ended.text) is None
    assert 'id="announcer"' in ended.text and "is ready." in ended.text
    assert f'href="{file_of(export)}"' in ended.text


def test_many_are_shown_in_pages(app: Flask, world: World, admin: Person, ask: Callable[..., Export]) -> None:
    with app.app_context():
        columns = {"selection": {"annotations": True}, "format": "json", "content_type": "x/y"}
        ended = {"state": "failed", "error": "no"}
        db.session.add_all(Export(filename=f"file {n:03}", **columns, **ended) for n in range(60))
        db.session.commit()
    first = admin.client.get(EXPORTS).text
    assert "file 059" in first and "file 009" not in first
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = admin.client.get(older[1].replace("&amp;", "&")).text
    assert "file 009" in second and "file 059" not in second and 'rel="prev"' in second
