"""Docs and code hold together: endpoints, settings and their commands; links lead somewhere; no page is left out.

Settings themselves are held by `test_config.py`, error codes by `test_errors_doc.py`, annotation types by
`annotations/test_contract.py`, the examples of the integration guide by `test_doc_examples.py`.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
from flask import Flask

from app.errors import CODES

ROOT = Path(__file__).parent.parent
DOCS, APP = ROOT / "docs", ROOT / "app"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
ENDPOINT = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) `(/[^`?]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# what the pages of the documentation are told apart by, one row of `docs/index.md` each
FOLDER = "decisions/"


def named_endpoints(text: str) -> Counter[tuple[str, str]]:
    """Method and path of each endpoint that a table names first in its row."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return Counter(match.groups() for row in rows if (match := ENDPOINT.match(row[2:])))


def test_the_docs_name_exactly_the_endpoints_of_the_json_api(app: Flask) -> None:
    rules = [
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    ]
    assert named_endpoints((DOCS / "api.md").read_text()) == Counter(rules)


def test_the_docs_name_exactly_the_commands(app: Flask) -> None:
    own = {"db upgrade"}  # of Flask-Migrate's commands the one that an operator needs
    for name, command in app.cli.commands.items():
        if name != "db":
            own |= {f"{name} {part}" for part in getattr(command, "commands", ())} or {name}
    text = (DOCS / "operations.md").read_text()
    named = set(re.findall(r"^\| `flask --app wsgi ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text, re.M))
    assert named == own


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub and most others link to them."""
    headings = re.findall(r"^#{1,6} (.+)$", page.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return set(plain)


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert not lost


def test_the_index_names_every_page() -> None:
    linked = set(LINK.findall((DOCS / "index.md").read_text()))
    there = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert linked == there | {FOLDER}


def test_decisions_are_numbered_without_a_gap_and_say_their_number() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. "), page.name


# of others: the examples' own, gunicorn's, the tests', and constants of this code
OTHER_NAMES = frozenset(
    {"API_KEY", "LOUPE_URL", "LOUPE_KEY", "PROJECT_ID", "IMAGE_ID", "WEB_CONCURRENCY"}
    | {"TEST_DATABASE", "TEST_DATABASE_URL", "TEST_CHROMIUM"}
)
OTHER_CODES = frozenset({"range-not-satisfiable", "internal-error"})
# what addresses of Loupe begin with; other paths are files
BEGINNINGS = (
    "account admin analyses annotations api files healthz images projects readyz reference sign-in static"
)


def test_what_the_docs_say_in_code_is_there(app: Flask) -> None:
    """A renamed setting, error code or address must not live on in a page that no other test reads."""
    constants = set(
        re.findall(r"^([A-Z][A-Z_]+)\b.* = ", "\n".join(f.read_text() for f in APP.rglob("*.py")), re.M)
    )
    known = set(app.config) | OTHER_NAMES | constants
    adapter = app.url_map.bind("loupe.example")
    wrong = []
    for page in PAGES:
        text = page.read_text()
        names = re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text)
        wrong += [f"{page.name}: {name}" for name in names if name not in known and "…" not in name]
        for status, code in re.findall(r"\b([45]\d\d) `([a-z]+(?:-[a-z]+)+)`", text):
            if code not in OTHER_CODES and (code not in CODES or CODES[code].status != int(status)):
                wrong.append(f"{page.name}: {status} {code}")
        for path in re.findall(rf"`(/(?:{BEGINNINGS.replace(' ', '|')})\b[^`\s?]*)", text):
            address = re.sub(r"\$?\{[^}]*\}", "01900000-0000-7000-8000-000000000000", path).rstrip("…")
            if not path.endswith(("/", "…")) and not adapter.allowed_methods(address):
                wrong.append(f"{page.name}: {path}")
    assert not wrong
