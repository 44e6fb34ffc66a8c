"""Two hundred attacks in every text a person or a pipeline can send, on every page that shows it, in a real browser.

Nothing may run, be fetched from elsewhere, or become an element: each page has the elements and attributes of its twin,
which shows harmless texts of the same length; and each text is shown as it was written.
"""

import csv
import re
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from app.errors import InvalidPayload
from app.models import SYSTEM
from app.services import accounts
from app.services.images import clean_filename
from tests.conftest import LiveServer
from tests.steps import box
from tests.support.hostile import LONGEST_UNIT, PROXY_SECRET, STRINGS, Hostile, harmless, settings
from tests.support.site import Stop, submit
from tests.support.twins import Shown, compare
from tests.support.visits import Visits

pytestmark = pytest.mark.one_database

# what Loupe refuses in a name, or takes out of it: it would change how the text beside it is read
UNREADABLE = ("\u202ereversed", "\u2066isolated\u2069", "a\0b", "bell\x07", "\x1b[31mred", "two\nlines")

# one header, a name in quotes and perhaps the same once more, encoded; nothing a file system could take for a place
PLAIN_NAME = r"""attachment; filename="[^"<>:/\\|?*\x00-\x1f]+"(; filename\*=UTF-8\'\'[^\s;"<>:/\\?]+)?"""

# what a person does to one text at a time, in turns
Walk = Sequence[tuple[Stop, Sequence[str]]]


@pytest.fixture(scope="module")
def hostile(_serve: Callable[..., LiveServer]) -> Hostile:
    return Hostile(_serve(**settings(STRINGS)), STRINGS, "hostile")


@pytest.fixture(scope="module")
def plain(_serve: Callable[..., LiveServer]) -> Hostile:
    """On a server of its own, as admins see everything. Half as many fill as many pages as make a difference."""
    strings = harmless(STRINGS)[::2]
    return Hostile(_serve(**settings(strings)), strings, "harmless")


@pytest.fixture(scope="module")
def shown(browser: Browser, hostile: Hostile) -> Iterator[Shown]:
    visits = Visits(browser, hostile)
    yield Shown(visits)
    visits.close()


@pytest.fixture(scope="module")
def twin(browser: Browser, plain: Hostile) -> Iterator[Shown]:
    """The pages of the harmless world, as they should be."""
    visits = Visits(browser, plain)
    yield Shown(visits)
    visits.close()


def visit(shown: Shown, walk: Walk, number: int) -> None:
    """One of the pages is opened, another one each time; the rest is fetched and parsed by the browser."""
    for n, (stop, expected) in enumerate(walk):
        (shown.look if n == number % len(walk) else shown.read)(stop, *expected)


def test_there_are_enough_and_all_differ() -> None:
    assert len(STRINGS) >= 200 and len(set(STRINGS)) == len(STRINGS)


def lists(world: Hostile, shown: Shown) -> None:
    """The pages that show many texts of a kind, each by itself."""
    look = shown.look
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


def test_texts_in_lists(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    lists(hostile, shown)
    lists(plain, twin)
    compare(shown, twin)


def admin_lists(world: Hostile, shown: Shown) -> None:
    """The same for admins, who see everything of everybody; the first two pages of a list are opened."""
    sent = quote(f"@{world.me.email}")
    tables = [("admin-users", f"/admin/users?q={sent}&page=", world.pages_of_people())]
    tables += [("admin-projects", "/admin/projects?page=", world.pages_of_projects())]
    for name, address, pages in tables:
        for page, texts in enumerate(pages, 1):
            (shown.look if page < 3 else shown.read)(Stop(name, f"{address}{page}", "admin"), *texts)
    for n, (day, texts) in enumerate(world.days_of_events()):
        for whose in ("kind=pipeline", f"kind=user&actor={world.changing.id}"):
            stop = Stop("audit", f"/admin/audit?from={day}&to={day}&{whose}", "admin")
            (shown.read if n else shown.look)(stop, *texts)
    common = next(text for text in ("<", "x") if sum(text in name for name in world.strings) > 100)
    for name, address in (("users", "users?q"), ("projects", "projects?q"), ("audit", "audit?who")):
        shown.look(Stop(f"admin-{name}-next", f"/admin/{address}={common}", "admin"), f"={quote(common)}&")
    shown.look(Stop("exports", "/admin/exports", "admin"), *world.offered_projects())
    words = [word.strip() for text in world.strings for word in text.split(",") if word.strip()]
    region = " · ".join(world.strings)
    # of people's texts it has only the menu, which says who is signed in
    shown.look(Stop("reference", f"/reference?q={quote(world.lines[0])}"), world.lines[0])
    shown.look(Stop("settings", "/admin/settings", "admin"), ", ".join(["*", *words]), region)


def test_texts_in_lists_for_admins(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    admin_lists(hostile, shown)
    admin_lists(plain, twin)
    compare(shown, twin)


def alone(world: Hostile, number: int) -> Walk:
    """The pages that show one text of a kind: titles, headings, facts, and what was searched for."""
    project_id, image_id, analysis_id = world.alone[number]
    bundle, line = world.bundles[number], world.lines[number]
    sent = quote(line)
    query = f"q={sent}&model={sent}&state={sent}&sort={sent}&page={sent}&analysis={sent}"
    return [
        (Stop("project", f"/projects/{project_id}"), [line]),
        (Stop("image", f"/images/{image_id}"), [*bundle, line]),
        (Stop("project-members", f"/projects/{project_id}/members"), [line]),
        (Stop("search", f"/projects/{project_id}?{query}"), [line]),
        (Stop("panel", f"/images/{image_id}/panel?analysis={analysis_id}&version={sent}"), bundle),
        # an address with a backslash leads nowhere after signing in, so it is not kept
        (Stop("sign-in", f"/sign-in?next=/{sent}", ""), [line] if "\\" not in line else []),
    ]


def test_texts_alone(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    for number in range(len(hostile.lines)):
        visit(shown, alone(hostile, number), number)
    for number in range(6):
        visit(twin, alone(plain, number), number)
    compare(shown, twin)


def admin_alone(world: Hostile, number: int) -> Walk:
    """A person's own page and those of the admins, where somebody or something has this text for everything."""
    project_id, _, _ = world.alone[number]
    line, who = world.lines[number], world.become(number)
    sent, short, other = quote(line), quote(world.bundles[number][0]), quote(f"{line}zzz")
    asked = "model", "project", "status", "created_from", "created_to", "what", "format"
    wrong = "&".join(f"{name}={sent}" for name in asked)
    narrow = f"who={other}" + "".join(
        f"&{it}={sent}" for it in ("action", "subject_type", "subject", "request")
    )
    narrow += "".join(
        f"&{name}={short}" for name in ("kind", "actor", "project", "from", "to", "older", "newer")
    )
    return [
        (Stop("account", "/account", "changing"), who),
        (Stop("admin-user", f"/admin/users/{world.changing.id}", "admin"), [*who, line]),
        (Stop("admin-project", f"/admin/projects/{project_id}", "admin"), who[:2]),
        (Stop("users-none", f"/admin/users?q={other}&state={sent}&page={sent}", "admin"), [f"{line}zzz"]),
        (Stop("projects-none", f"/admin/projects?q={other}&page={sent}", "admin"), [f"{line}zzz"]),
        (Stop("audit-none", f"/admin/audit?{narrow}", "admin"), [line]),
        (
            Stop("exports-counted", f"/admin/exports?count=1&project={project_id}&model={sent}", "admin"),
            [line],
        ),
        (Stop("exports-wrong", f"/admin/exports?count=1&{wrong}", "admin", status=422), [line]),
    ]


def tell(world: Hostile, shown: Shown, number: int) -> None:
    """What is told of a text after a form was taken, on the page that comes next."""
    line, email = world.lines[number], accounts.normalised(world.lines[number])
    made = {"name": line, "description": line, "owner": world.newcomer.email}
    state = Stop("told-state", f"/admin/users/{world.changing.id}/state", "admin")
    key = Stop("told-key", f"/account/keys/{world.keys[0]}/revoke", "changing")
    shown.read(state, f"{email} is enabled.", state="enabled")
    shown.read(Stop("told-project", "/admin/projects/new", "admin"), f"“{line}” has been made.", **made)
    shown.read(key, f"“{world.bundles[number][0]}” has been revoked.", revoke="yes")
    shown.finish(one_by_one=True)


def admin_walk(world: Hostile, shown: Shown, numbers: range) -> None:
    shown.look(
        Stop("account", "/account", "changing")
    )  # signed in while the address is one that can be typed
    for number in numbers:
        visit(shown, admin_alone(world, number), number)
        shown.finish()
        tell(world, shown, number)


def test_texts_alone_for_admins(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    admin_walk(hostile, shown, range(len(hostile.lines)))
    admin_walk(plain, twin, range(8))
    compare(shown, twin)


def refused(world: Hostile, shown: Shown, lines: list[str]) -> None:
    """What the server refuses, shown again beside the reason."""
    project_id = world.alone[0][0]
    create, add = "form[action='/projects']", "#add-title + form"
    members = f"/projects/{project_id}/members"
    for n in range(0, len(lines), 8):
        much = " · ".join(lines[n : n + 8]) + "x" * 300
        both = {"name": much, "description": much}
        if n == 0:
            shown.look(Stop("project-refused", "/", "new", "", 422, submit(create, **both)), much)
            shown.look(Stop("member-refused", members, "me", "", 422, submit(add, email=much)), much)
        shown.read(Stop("project-refused", "/projects", "new", status=422), much, **both)
        shown.read(Stop("member-refused", members, "me", status=422), much, email=much)
    shown.look(
        Stop("sign-in-refused", "/sign-in", "", "", 401, submit("form", email=lines[0], password="x")),
        lines[0],
    )
    for line in lines[1:]:
        shown.read(Stop("sign-in-refused", "/sign-in", "", status=401), line, email=line, password="x")
    sent = submit("#drop", dict.fromkeys(world.strings, 3))
    # a form writes a quote as %22, which is read as one; a backslash is taken for an escape or for the end of a folder
    told = [name.replace("%22", '"') for name in world.strings if "\\" not in name]
    shown.look(Stop("upload-refused", f"/projects/{project_id}", "me", "", 422, sent), *told)


def test_texts_that_are_refused(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    refused(hostile, shown, hostile.lines)
    refused(plain, twin, plain.lines[:2])
    compare(shown, twin)


def admin_refused(world: Hostile, shown: Shown, lines: list[str]) -> None:
    """The same in the forms of the account and of the admin pages; and what a proxy says that is not believed."""
    shown.look(Stop("account", "/account", "changing"))
    world.become(0)
    key, project = world.keys[0], f"/admin/projects/{world.alone[0][0]}"
    for n in range(0, len(lines), 8):
        much = " · ".join(lines[n : n + 8]) + "x" * 300
        both = {"name": much, "description": much}
        export = dict.fromkeys(("project", "model", "status", "created_from", "created_to", "what"), much)
        shown.read(Stop("name-refused", "/account", "changing", status=422), much, name=much)
        shown.read(Stop("key-refused", "/account/keys", "changing", status=422), much, name=much, key_id=much)
        user = {"email": much, "name": much, "role": much}
        shown.read(Stop("user-refused", "/admin/users/new", "admin", status=422), much, **user)
        shown.read(Stop("new-refused", "/admin/projects/new", "admin", status=422), much, **both, owner=much)
        shown.read(Stop("change-refused", project, "admin", status=422), much, **both)
        shown.read(Stop("download-refused", "/admin/exports/download", "admin", status=422), much, **export)
    world.slow_down([f"{line}?" for line in lines])
    for line in lines:
        shown.read(Stop("key-taken", "/account/keys", "changing", status=409), line, name=line, key_id=key)
        user = {"email": world.me.email, "name": line}
        shown.read(Stop("user-taken", "/admin/users/new", "admin", status=409), line, **user)
        asked = {"name": line, "owner": f"{line}?", "description": line}
        shown.read(Stop("owner-unknown", "/admin/projects/new", "admin", status=422), f"{line}?", **asked)
        slow = Stop("sign-in-slow", "/sign-in", "", status=429)
        shown.read(slow, f"{line}?", "Too many attempts", email=f"{line}?", password="x")
        shown.read(
            Stop("proxy-refused", "/", "", status=403), f"account for {line}?.", headers=by_proxy(f"{line}?")
        )
    shown.finish()
    for number in range(0, len(lines), 2):
        who = world.become(number)
        shown.read(Stop("account-by-proxy", "/account", ""), f"as {who[1]}", *who, headers=by_proxy(who[1]))
        shown.finish()


def by_proxy(email: str) -> dict[str, str]:
    """As a proxy sends it; a script names the bytes of a header by the letters of Latin-1."""
    return {"X-User-Email": email.encode().decode("latin-1"), "X-Proxy-Secret": PROXY_SECRET}


def test_texts_that_are_refused_to_admins(
    shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile
) -> None:
    admin_refused(hostile, shown, hostile.lines)
    admin_refused(plain, twin, plain.lines[:2])
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


def test_texts_that_are_swapped_in(shown: Shown, twin: Shown, hostile: Hostile, plain: Hostile) -> None:
    swaps(hostile, shown)
    swaps(plain, twin)
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


@pytest.mark.parametrize(("form", "content_type"), [("json", "application/json"), ("csv", "text/csv")])
def test_texts_in_files_of_admins(hostile: Hostile, form: str, content_type: str) -> None:
    """The same for the export of a project and a model that are named like this."""
    browser = hostile.admin.client
    token = browser.get("/admin/exports").text.split('name="csrf_token" value="')[1].split('"')[0]
    for line, (project_id, _, _) in zip(hostile.lines, hostile.alone, strict=True):
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
