"""Two hundred attacks in every text a person or a pipeline can send, on every page that shows it, in a real browser.

Nothing may run, be fetched from elsewhere, or become an element: each page has the elements and attributes of its twin,
which shows harmless texts of the same length; and each text is shown as it was written.
"""

import csv
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, expect

from app.errors import InvalidPayload
from app.models import SYSTEM
from app.services import accounts
from app.services.images import clean_filename
from app.web.downloads import well_formed
from tests.conftest import LiveServer
from tests.steps import box
from tests.support.browser import poll
from tests.support.hostile import STRINGS, Hostile, harmless, settings
from tests.support.stops import NOT_PAGES, Stop, pages_of
from tests.support.twins import Listed, Reading, check_alike
from tests.support.visits import Visits
from tests.support.walks import (
    Walk,
    admin_alone,
    admin_lists,
    admin_refused,
    alone,
    faults,
    lists,
    refused,
    tell,
    too_large,
)

pytestmark = pytest.mark.one_database
# every 24th text with `make test`, each with `make soak`
some_and_all = pytest.mark.parametrize("step", [24, pytest.param(1, marks=pytest.mark.soak)])

# what Loupe refuses in a name, or takes out of it: it would change how the text beside it is read
UNREADABLE = ("\u202ereversed", "\u2066isolated\u2069", "a\0b", "bell\x07", "\x1b[31mred", "two\nlines")

# one header, a name in quotes and perhaps the same once more, encoded; nothing a file system could take for a place
PLAIN_NAME = r"""attachment; filename="[^"<>:/\\|?*\x00-\x1f]+"(; filename\*=UTF-8\'\'[^\s;"<>:/\\?]+)?"""


@pytest.fixture(scope="module")
def hostile(_serve: Callable[..., LiveServer]) -> Hostile:
    return Hostile(_serve(**settings(STRINGS)), STRINGS, "hostile")


@pytest.fixture(scope="module")
def plain(_serve: Callable[..., LiveServer]) -> Hostile:
    """On a server of its own, as admins see everything. Half as many fill as many pages as make a difference."""
    strings = harmless(STRINGS)[::2]
    return Hostile(_serve(**settings(strings)), strings, "harmless")


@pytest.fixture(scope="module")
def reading(browser: Browser, hostile: Hostile) -> Iterator[Reading]:
    visits = Visits(browser, hostile)
    yield Reading(visits)
    visits.close()


@pytest.fixture(scope="module")
def twin(browser: Browser, plain: Hostile) -> Iterator[Reading]:
    """The pages of the harmless world, as they should be."""
    visits = Visits(browser, plain)
    yield Reading(visits)
    visits.close()


def visit(reading: Reading, walk: Walk, number: int) -> None:
    """One of the pages is opened, another one each time; the rest is fetched and parsed by the browser."""
    for n, (stop, expected) in enumerate(walk):
        (reading.look if n == number % len(walk) else reading.read)(stop, *expected)


def test_there_are_enough_and_all_differ() -> None:
    assert len(STRINGS) >= 200 and len(set(STRINGS)) == len(STRINGS)


@pytest.mark.soak
def test_texts_in_lists(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    lists(hostile, reading)
    lists(plain, twin)
    check_alike(reading, twin)


def test_models_in_the_menu_of_a_gallery(reading: Reading, hostile: Hostile) -> None:
    page = reading.visits.visit(Stop("gallery", f"/projects/{hostile.gallery}"))
    values = page.locator("#filter-model option").evaluate_all("all => all.map(one => one.value)")
    assert set(values) >= {"", *hostile.strings}


@pytest.mark.soak
def test_texts_in_lists_for_admins(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    admin_lists(hostile, reading)
    admin_lists(plain, twin)
    check_alike(reading, twin)


@pytest.mark.soak
def test_texts_alone(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    for number in range(len(hostile.lines)):
        visit(reading, alone(hostile, number), number)
    for number in range(len(alone(plain, 0))):  # each page is opened once
        visit(twin, alone(plain, number), number)
    check_alike(reading, twin)


def admin_walk(world: Hostile, reading: Reading, most: int | None = None) -> None:
    """With so many texts, or with as many as open each page once."""
    reading.look(
        Stop("account", "/account", "changing")
    )  # signed in while the address is one that can be typed
    for number in range(most or len(admin_alone(world, 0))):
        visit(reading, admin_alone(world, number), number)
        reading.finish()
        tell(world, reading, number)


@pytest.mark.soak
def test_texts_alone_for_admins(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    admin_walk(hostile, reading, len(hostile.lines))
    admin_walk(plain, twin)
    check_alike(reading, twin)


def fault_walk(world: Hostile, reading: Reading, numbers: range) -> None:
    reading.look(Stop("account", "/account", "changing"))
    for number in numbers:
        visit(reading, faults(world, number), number)
        reading.finish()
    too_large(world, reading)


@pytest.mark.soak
def test_texts_on_the_pages_of_errors(
    reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile
) -> None:
    fault_walk(hostile, reading, range(0, len(hostile.lines), 3))
    fault_walk(plain, twin, range(3))
    check_alike(reading, twin)


@pytest.mark.soak
def test_texts_that_are_refused(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    refused(hostile, reading, hostile.lines)
    refused(plain, twin, plain.lines[:2])
    check_alike(reading, twin)


@pytest.mark.soak
def test_texts_that_are_refused_to_admins(
    reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile
) -> None:
    admin_refused(hostile, reading, hostile.lines)
    admin_refused(plain, twin, plain.lines[:2])
    check_alike(reading, twin)


def swaps(world: Hostile, reading: Reading) -> None:
    """An analysis that is clicked, and what a poll brings."""
    image_id, analysis_id = world.drawn
    page = reading.visits.visit(Stop("swap", f"/images/{world.busy}"))
    page.clock.install()
    page.goto(f"/images/{world.busy}")
    links = page.locator(".analyses a")
    for n in (1, 3, len(world.strings) - 2):
        name = links.nth(n).locator("b").text_content() or ""
        links.nth(n).click()
        expect(page.locator("#layers-of")).to_have_text(name)
        reading.check(page, "swap", name)
    page.goto(f"/images/{image_id}?analysis={analysis_id}&bitmaps=0")
    for text in (world.strings[0], world.strings[12]):
        answer = world.server.pipeline.post(
            f"/api/analyses/{analysis_id}/annotations:bulk",
            {"annotations": [box(class_name=text, client_id=f"n{time.monotonic_ns()}")]},
        )
        assert answer.status_code == 200
        poll(page)
        expect(page.locator("#statusline")).to_contain_text("received")
        reading.check(page, "swap", text)


@pytest.mark.soak
def test_texts_that_are_swapped_in(reading: Reading, twin: Reading, hostile: Hostile, plain: Hostile) -> None:
    swaps(hostile, reading)
    swaps(plain, twin)
    check_alike(reading, twin)


@some_and_all
def test_texts_in_files(hostile: Hostile, step: int) -> None:
    """A name of ours in the header of a download is one header, names a file and no place; the file is no page."""
    for line, (_, image_id, analysis_id) in list(zip(hostile.lines, hostile.alone, strict=True))[::step]:
        for kind, content_type in (("json", "application/json"), ("csv", "text/csv")):
            address = f"/api/analyses/{analysis_id}/export?format={kind}"
            answer = hostile.server.api(hostile.me, "GET", address)
            assert answer.status_code == 200 and answer.headers["Content-Type"].startswith(content_type)
            header = answer.headers["Content-Disposition"]
            assert re.fullmatch(PLAIN_NAME, header, re.ASCII) and f".{kind}" in header, header
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if kind == "json":
                assert answer.json()["model_name"] == line
        content = hostile.server.api(hostile.me, "GET", f"/api/images/{image_id}/content")
        assert content.headers["Content-Type"] == "image/png"
        assert content.headers["X-Content-Type-Options"] == "nosniff"


@some_and_all
@pytest.mark.parametrize(("kind", "content_type"), [("svg", "image/svg+xml"), ("png", "image/png")])
def test_texts_in_views_that_are_taken_away(
    hostile: Hostile, kind: str, content_type: str, step: int
) -> None:
    """The names of the image and of the model are in the header and in the drawing, where they are only text."""
    allowed = {"svg", "title", "g", "rect", "image", "text"}
    for line, (_, image_id, analysis_id) in list(zip(hostile.lines, hostile.alone, strict=True))[::step]:
        answer = hostile.me.client.get(f"/images/{image_id}/view.{kind}?analysis={analysis_id}")
        assert (answer.status_code, answer.mimetype) == (200, content_type)
        header = answer.headers["Content-Disposition"]
        assert re.fullmatch(PLAIN_NAME, header, re.ASCII) and f".{kind}" in header, header
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        if kind == "svg":
            drawing = list(ElementTree.fromstring(answer.data).iter())
            assert {element.tag.rpartition("}")[2] for element in drawing} <= allowed
            (title,) = (element.text for element in drawing if element.tag.endswith("}title"))
            assert title == well_formed(line)


@some_and_all
@pytest.mark.parametrize(("form", "content_type"), [("json", "application/json"), ("csv", "text/csv")])
def test_texts_in_files_of_admins(hostile: Hostile, form: str, content_type: str, step: int) -> None:
    """The same for the export of a project and a model that are named like this."""
    browser = hostile.admin.client
    token = browser.get("/admin/exports").text.split('name="csrf_token" value="')[1].split('"')[0]
    for line, (project_id, _, _) in list(zip(hostile.lines, hostile.alone, strict=True))[::step]:
        sent = {"csrf_token": token, "project": str(project_id), "model": line, "format": form}
        answer = browser.post("/admin/exports/download", data=sent)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith(content_type)
        header = answer.headers["Content-Disposition"]
        assert re.fullmatch(PLAIN_NAME, header, re.ASCII) and f".{form}" in header, header
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if form == "json":
            assert answer.json["filters"]["model_name"] == line
            assert [found["model_name"] for found in answer.json["analyses"]] == [line]
        else:
            assert len(list(csv.reader(answer.text.splitlines()))) == 2


@pytest.mark.parametrize("text", UNREADABLE, ids=ascii)
def test_texts_that_no_name_may_hold(hostile: Hostile, text: str) -> None:
    """Refused in names, taken out of file names, made visible in messages of programs."""
    server, me = hostile.server, hostile.me
    made = server.api(me, "POST", "/api/projects", json={"name": text})
    path = f"/api/images/{hostile.busy}/analyses"
    sent = {"model_name": text, "model_version": "1"}
    _, analysis_id = hostile.drawn
    bulk = {"annotations": [box(class_name=text, client_id=f"n{time.monotonic_ns()}")]}
    answers = [
        made,
        server.pipeline.post(path, sent),
        server.pipeline.post(path, {**sent, "model_name": "leaf-net", "model_version": text}),
        server.pipeline.post(f"/api/analyses/{analysis_id}/annotations:bulk", bulk),
    ]
    # JSON with a NUL is refused before any field is looked at
    assert {answer.status_code for answer in answers} <= ({400} if "\0" in text else {422})
    if "\n" not in text:
        cleaned = clean_filename(f"{text}.png")
        assert cleaned.isprintable() and cleaned != f"{text}.png"


def test_addresses_that_no_account_may_have(hostile: Hostile) -> None:
    """What could be markup or a line is refused; what is left is shown as written (see the members)."""
    refused = []
    with hostile.world.app.app_context():
        emails = [f"{text}@example.org" for text in [*STRINGS, "a\0b", "bell\x07", "two\nlines"]]
        for email in emails:
            with pytest.raises(InvalidPayload) as error:
                accounts.create_user(email, "short", by=SYSTEM)  # the password is looked at after the address
            refused += [email] if error.value.errors[0]["field"] == "email" else []
    assert set(refused) >= {email for email in emails if re.search(r"[\s\0-\x1f<>\"(),:;\\\[\]]", email)}


@pytest.mark.soak
def test_every_page_is_shown_with_these_texts(plain: Hostile, twin: Reading) -> None:
    """Which leads to all of them, and no list of exceptions, but for what is no page at all."""
    listed = Listed(twin.visits)
    lists(plain, listed)
    admin_lists(plain, listed)
    too_large(plain, listed)
    for stop, _ in [*alone(plain, 0), *admin_alone(plain, 0), *faults(plain, 0)]:
        listed.look(stop)
    app = plain.world.app
    router = app.url_map.bind("")
    addresses = {urlsplit(stop.address).path for stop in listed.stops if stop.status == 200}
    assert pages_of(app) - {router.match(address)[0] for address in addresses} == NOT_PAGES.keys()
    assert {stop.status for stop in listed.stops} >= {200, 403, 404, 410, 413}
