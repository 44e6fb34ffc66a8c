"""Two hundred attacks in every text a person or a pipeline can send, on every page that shows it, in a real browser.

Nothing may run, be fetched from elsewhere, or become an element: each page has the elements and attributes of its twin,
which shows harmless texts of the same length; and each text is shown as it was written.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from app.errors import InvalidPayload
from app.models import SYSTEM
from app.services import accounts
from app.services.images import clean_filename
from tests.conftest import LiveServer
from tests.steps import box
from tests.support.hostile import LONGEST_UNIT, STRINGS, Hostile, harmless
from tests.support.site import Stop, submit
from tests.support.visits import Visits

pytestmark = pytest.mark.one_database

# what Loupe refuses in a name, or takes out of it: it would change how the text beside it is read
UNREADABLE = ("\u202ereversed", "\u2066isolated\u2069", "a\0b", "bell\x07", "\x1b[31mred", "two\nlines")

# one header, a name in quotes and perhaps the same once more, encoded; nothing a file system could take for a place
PLAIN_NAME = r"""attachment; filename="[^"<>:/\\|?*\x00-\x1f]+"(; filename\*=UTF-8\'\'[^\s;"<>:/\\?]+)?"""

SNAPSHOT = """async ([expected, address, fields]) => {
    const sent = fields && new FormData(document.querySelector("form[method=post]"));
    for (const [name, value] of Object.entries(fields ?? {})) sent.set(name, value);
    const parse = async () => {
        const answer = await fetch(address, sent ? {method: "POST", body: sent} : {});
        return new DOMParser().parseFromString(await answer.text(), "text/html");
    };
    const page = address ? await parse() : document;
    const everything = [...page.querySelectorAll("*")];
    const pairs = new Set(), bad = [];
    let said = page.documentElement.textContent;
    for (const it of everything) {
        const tag = it.tagName.toLowerCase();
        pairs.add(tag);
        for (const {name, value} of it.attributes) {
            pairs.add(`${tag} ${name}`);
            said += "\\n" + value;
            if (/^on/i.test(name)) bad.push(`${tag} ${name}`);
            if (/^\\s*(javascript|vbscript|data):/i.test(value) && /(href|src|action|data|content)$/i.test(name))
                bad.push(`${tag} ${name}=${value.slice(0, 60)}`);
        }
        if ("value" in it) said += "\\n" + it.value;
        if (tag === "script" && !it.src.startsWith(`${location.origin}/static/`)) bad.push(it.outerHTML.slice(0, 90));
        if (/^(iframe|object|embed|base|frame|applet|portal|style|dialog|math)$/.test(tag)) bad.push(tag);
        if (tag === "meta" && it.httpEquiv) bad.push(it.outerHTML.slice(0, 90));
    }
    const missing = expected.filter((text) => !said.includes(text));
    return {pairs: [...pairs], bad, missing};
}"""


@dataclass
class Shown:
    """What the pages of a world are made of, by the kind of page; and what was wrong with any."""

    visits: Visits
    pairs: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def look(self, stop: Stop, *expected: str) -> Page:
        page = self.visits.visit(stop)
        if not stop.act and not stop.address.startswith("/sign-in"):
            assert urlsplit(page.url).path == urlsplit(stop.address).path, f"{stop.name} went to {page.url}"
        return self.check(page, stop.name, *expected)

    def read(self, stop: Stop, *expected: str, **fields: str) -> Page:
        """The same for a page that is fetched and parsed, which takes a tenth of the time of opening it.

        With `fields`, the first form of the page that is open is sent there.
        """
        page = self.visits.page(stop)
        if page.url == "about:blank":
            page.goto("/sign-in")
        return self.check(page, stop.name, *expected, address=stop.address, fields=fields or None)

    def check(
        self, page: Page, kind: str, *expected: str, address: str = "", fields: dict[str, str] | None = None
    ) -> Page:
        found = page.evaluate(SNAPSHOT, [list(expected), address, fields])
        self.pairs.setdefault(kind, set()).update(found["pairs"])
        self.wrong += [f"{kind}: became part of the page: {line}" for line in found["bad"]]
        self.wrong += [f"{kind}: not shown as written: {text}" for text in found["missing"]]
        self.wrong += [f"{kind}: {line}" for line in self.visits.happened(page)]
        return page


@pytest.fixture(scope="module")
def server(_serve: Callable[..., LiveServer]) -> LiveServer:
    return _serve()


@pytest.fixture(scope="module")
def hostile(server: LiveServer) -> Hostile:
    return Hostile(server, STRINGS, "hostile")


@pytest.fixture(scope="module")
def shown(browser: Browser, hostile: Hostile) -> Iterator[Shown]:
    visits = Visits(browser, hostile)
    yield Shown(visits)
    visits.close()


@pytest.fixture(scope="module")
def twin(browser: Browser, server: LiveServer) -> Iterator[Shown]:
    """The pages of the harmless world, as they should be."""
    visits = Visits(browser, Hostile(server, harmless(STRINGS), "harmless"))
    yield Shown(visits)
    visits.close()


def compare(shown: Shown, twin: Shown) -> None:
    """Nothing was wrong, and no page has what its twin has not."""
    wrong, shown.wrong = shown.wrong, []
    for kind, pairs in shown.pairs.items():
        extra = pairs - twin.pairs.get(kind, set())
        wrong += [f"{kind}: its twin has no <{pair}>" for pair in sorted(extra)]
    shown.pairs.clear()
    twin.pairs.clear()
    assert not twin.wrong, "\n".join(twin.wrong[:30])
    assert not wrong, "\n".join(wrong[:30])


def test_there_are_enough_and_all_differ() -> None:
    assert len(STRINGS) >= 200 and len(set(STRINGS)) == len(STRINGS)


def lists(world: Hostile, look: Callable[..., Page]) -> None:
    """The pages that show many texts of a kind, each by itself."""
    look(Stop("projects", "/"), *world.strings)
    look(Stop("members", f"/projects/{world.crowd}/members"), *world.strings)
    for page in range(1, -(-len(world.names) // 60) + 1):
        on_it = world.names[::-1][(page - 1) * 60 - 1 : page * 60 - 1] if page > 1 else world.names[::-1][:59]
        look(Stop("gallery", f"/projects/{world.gallery}?page={page}"), *on_it)
    look(Stop("many", f"/images/{world.busy}"), *world.strings)
    image_id, analysis_id = world.drawn
    for page in (1, 2, 3):
        query = f"analysis={analysis_id}&bitmaps=0&page={page}"
        units = [text[:LONGEST_UNIT] for text in world.strings]
        look(Stop("drawn", f"/images/{image_id}?{query}"), *world.strings, *units)


def test_texts_in_lists(shown: Shown, twin: Shown, hostile: Hostile) -> None:
    lists(hostile, shown.look)
    lists(twin.visits.site, twin.look)  # type: ignore[arg-type]
    compare(shown, twin)


def alone(world: Hostile, shown: Shown, number: int) -> None:
    """The pages that show one text of a kind: titles, headings, facts, and what was searched for.

    Two of them are opened, others each time; the rest is fetched and parsed by the browser.
    """
    project_id, image_id, analysis_id = world.alone[number]
    bundle, line = world.bundles[number], world.lines[number]
    sent = quote(line)
    query = f"q={sent}&model={sent}&state={sent}&sort={sent}&page={sent}&analysis={sent}"
    pages = [
        (Stop("project", f"/projects/{project_id}"), [line]),
        (Stop("image", f"/images/{image_id}"), [*bundle, line]),
        (Stop("project-members", f"/projects/{project_id}/members"), [line]),
        (Stop("search", f"/projects/{project_id}?{query}"), [line]),
        (Stop("panel", f"/images/{image_id}/panel?analysis={analysis_id}&version={sent}"), bundle),
        # an address with a backslash leads nowhere after signing in, so it is not kept
        (Stop("sign-in", f"/sign-in?next=/{sent}", ""), [line] if "\\" not in line else []),
    ]
    for n, (stop, expected) in enumerate(pages):
        (shown.look if n % 3 == number % 3 else shown.read)(stop, *expected)


def test_texts_alone(shown: Shown, twin: Shown, hostile: Hostile) -> None:
    for number in range(len(hostile.lines)):
        alone(hostile, shown, number)
    harmless_world: Hostile = twin.visits.site  # type: ignore[assignment]
    for number in range(3):
        alone(harmless_world, twin, number)
    compare(shown, twin)


def refused(world: Hostile, shown: Shown, lines: list[str]) -> None:
    """What the server refuses, shown again beside the reason."""
    project_id = world.alone[0][0]
    create, add = "form[action='/projects']", "#add-title + form"
    for n in range(0, len(lines), 8):
        much = " · ".join(lines[n : n + 8]) + "x" * 300
        both = {"name": much, "description": much}
        shown.look(Stop("project-refused", "/", "new", "", 422, submit(create, **both)), much)
        members = f"/projects/{project_id}/members"
        shown.look(Stop("member-refused", members, "me", "", 422, submit(add, email=much)), much)
    shown.look(
        Stop("sign-in-refused", "/sign-in", "", "", 401, submit("form", email=lines[0], password="x")),
        lines[0],
    )
    for line in lines[1:]:
        shown.read(Stop("sign-in-refused", "/sign-in", ""), line, email=line, password="x")
    sent = submit("#drop", dict.fromkeys(world.strings, 3))
    # a form writes a quote as %22, which is read as one; a backslash is taken for an escape or for the end of a folder
    told = [name.replace("%22", '"') for name in world.strings if "\\" not in name]
    shown.look(Stop("upload-refused", f"/projects/{project_id}", "me", "", 422, sent), *told)


def test_texts_that_are_refused(shown: Shown, twin: Shown, hostile: Hostile) -> None:
    refused(hostile, shown, hostile.lines)
    world: Hostile = twin.visits.site  # type: ignore[assignment]
    refused(world, twin, world.lines[:2])
    compare(shown, twin)


def swaps(world: Hostile, shown: Shown) -> None:
    """An analysis that is clicked, and what a poll brings."""
    image_id, analysis_id = world.drawn
    page = shown.visits.visit(Stop("swap", f"/images/{world.busy}"))
    page.clock.install()
    page.goto(f"/images/{world.busy}")
    links = page.locator(".analyses a")
    for n in (1, 3, len(world.strings) - 2):
        name = links.nth(n).locator("b").text_content() or ""
        links.nth(n).click()
        expect(page.locator("#layers-of")).to_have_text(name)
        shown.check(page, "swap", name)
    page.goto(f"/images/{image_id}?analysis={analysis_id}&bitmaps=0")
    for text in (world.strings[0], world.strings[12]):
        answer = world.server.pipeline.post(
            f"/api/analyses/{analysis_id}/annotations:bulk",
            {"annotations": [box(class_name=text, client_id=f"n{time.monotonic_ns()}")]},
        )
        assert answer.status_code == 200
        with page.expect_response(re.compile("/panel")):
            page.clock.run_for(8100)
        page.clock.run_for(100)
        expect(page.locator("#statusline")).to_contain_text("received")
        shown.check(page, "swap", text)


def test_texts_that_are_swapped_in(shown: Shown, twin: Shown, hostile: Hostile) -> None:
    swaps(hostile, shown)
    swaps(twin.visits.site, twin)  # type: ignore[arg-type]
    compare(shown, twin)


def test_texts_in_files(hostile: Hostile) -> None:
    """A name of ours in the header of a download is one header, names a file and no place; the file is no page."""
    for line, (_, image_id, analysis_id) in zip(hostile.lines, hostile.alone, strict=True):
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
    """Spaces and control characters are refused; all else is an address, and is shown as written (see the members)."""
    refused = []
    with hostile.world.app.app_context():
        emails = [f"{text}@example.org" for text in [*STRINGS, "a\0b", "bell\x07", "two\nlines"]]
        for email in emails:
            with pytest.raises(InvalidPayload) as error:
                accounts.create_user(email, "short", by=SYSTEM)  # the password is looked at after the address
            refused += [email] if error.value.errors[0]["field"] == "email" else []
    assert set(refused) >= {email for email in emails if re.search(r"[\s\0]", email)}
