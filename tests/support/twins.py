"""What the pages of a world are made of, as a real browser reads them, to be compared with those of its twin."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.support.stops import Stop
from tests.support.visits import Visits

AT_ONCE = 4  # pages that are fetched while others are parsed
# the browser itself tells of errors, and of a day that is none in a form that is shown again
OF_THE_BROWSER = (
    "console error: Failed to load resource: the server responded",
    "console warning: The specified value",
)

_FOUND = """
    const found = (page, expected) => {
        const pairs = new Set(), bad = [];
        let said = page.documentElement.textContent;
        for (const it of page.querySelectorAll("*")) {
            const tag = it.tagName.toLowerCase();
            pairs.add(tag);
            for (const {name, value} of it.attributes) {
                if (name === "data-htmx-powered") continue;  // says only that htmx has got there
                pairs.add(`${tag} ${name}`);
                said += "\\n" + value;
                if (/^on/i.test(name)) bad.push(`${tag} ${name}`);
                if (/^\\s*(javascript|vbscript|data):/i.test(value) && /(href|src|action|data|content)$/i.test(name))
                    bad.push(`${tag} ${name}=${value.slice(0, 60)}`);
            }
            if ("value" in it) said += "\\n" + it.value;
            const foreign = tag === "script" && !`${it.src}`.startsWith(`${location.origin}/static/`);
            if (foreign || (tag === "meta" && it.httpEquiv)) bad.push(it.outerHTML.slice(0, 90));
            if (/^(iframe|object|embed|base|frame|applet|portal|style|dialog|math)$/.test(tag)) bad.push(tag);
        }
        return {pairs: [...pairs], bad, missing: expected.filter((text) => !said.includes(text))};
    };"""

OPEN = "(expected) => {" + _FOUND + "return found(document, expected); }"

READ = (
    """async ([readings, atOnce]) => {"""
    + _FOUND
    + """
    const tokenOf = (page) => page.querySelector("input[name=csrf_token]")?.value;
    const parse = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");
    const token = tokenOf(document) ?? tokenOf(await parse(await fetch("/account")));
    const answers = [];
    const read = async ({address, expected, fields, headers}) => {
        const sent = fields && new URLSearchParams({csrf_token: token, ...fields});
        const answer = await fetch(address, {headers, ...(sent ? {method: "POST", body: sent} : {})});
        return {status: answer.status, ...found(await parse(answer), expected)};
    };
    let next = 0;
    const work = async () => {
        while (next < readings.length) {
            const number = next++;
            answers[number] = await read(readings[number]);
        }
    };
    await Promise.all(Array.from({length: atOnce}, work));
    return answers;
}"""
)


@dataclass
class Reading:
    """What the pages of a world are made of, by the kind of page; and what was wrong with any."""

    visits: Visits
    pairs: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    waiting: list[tuple[Stop, dict[str, Any]]] = field(default_factory=list)

    def look(self, stop: Stop, *expected: str) -> Page:
        """Opens the page, as a person does."""
        page = self.visits.visit(stop)
        if not stop.act and not stop.address.startswith("/sign-in"):
            assert urlsplit(page.url).path == urlsplit(stop.address).path, f"{stop.name} went to {page.url}"
        return self.check(page, stop.name, *expected)

    def check(self, page: Page, kind: str, *expected: str) -> Page:
        self._note(kind, page.evaluate(OPEN, list(expected)), self._happened(page))
        return page

    def read(self, stop: Stop, *expected: str, headers: dict[str, str] | None = None, **fields: str) -> None:
        """The same for a page that is fetched and parsed, which takes a tenth of the time of opening it.

        It is done at the next `finish`, several at once. With `fields`, they are sent there as a form of ours would.
        """
        sent = {"address": stop.address, "expected": list(expected), "headers": headers or {}}
        self.waiting.append((stop, {**sent, "fields": fields or None}))

    def finish(self, *, one_by_one: bool = False) -> None:
        """Reads what waits; `one_by_one` where the order matters."""
        waiting, self.waiting = self.waiting, []
        for who in dict.fromkeys(stop.who for stop, _ in waiting):
            mine = [(stop, reading) for stop, reading in waiting if stop.who == who]
            page = self.visits.page(mine[0][0])
            if page.url == "about:blank":
                page.goto("/sign-in")
            at_once = 1 if one_by_one else AT_ONCE
            answers = page.evaluate(READ, [[reading for _, reading in mine], at_once])
            self.visits.allowed = OF_THE_BROWSER
            self.wrong += [f"while reading as {who}: {line}" for line in self._happened(page)]
            for (stop, _), answer in zip(mine, answers, strict=True):
                other = answer["status"] != stop.status
                self._note(stop.name, answer, [f"answered {answer['status']}"] if other else [])

    def _happened(self, page: Page) -> list[str]:
        """What has gone wrong since this was asked last."""
        if self.visits.allowed:
            self.visits.allowed = OF_THE_BROWSER
        happened = self.visits.happened(page)
        self.visits.noted.clear()
        return happened

    def _note(self, kind: str, found: dict[str, Any], happened: list[str]) -> None:
        self.pairs.setdefault(kind, set()).update(found["pairs"])
        self.wrong += [f"{kind}: became part of the page: {line}" for line in found["bad"]]
        self.wrong += [f"{kind}: not shown as written: {text}" for text in found["missing"]]
        self.wrong += [f"{kind}: {line}" for line in happened]


@dataclass
class Listed(Reading):
    """Goes nowhere, and takes down where a walk would lead."""

    stops: list[Stop] = field(default_factory=list)

    def look(self, stop: Stop, *_: str) -> None:  # type: ignore[override]
        self.stops.append(stop)

    def read(self, stop: Stop, *_: str, headers: dict[str, str] | None = None, **fields: str) -> None:
        self.stops.append(stop)


def check_alike(reading: Reading, twin: Reading) -> None:
    """Nothing was wrong, and no page has what its twin has not."""
    reading.finish()
    twin.finish()
    wrong, reading.wrong = reading.wrong, []
    for kind, pairs in reading.pairs.items():
        extra = pairs - twin.pairs.get(kind, set())
        wrong += [f"{kind}: its twin has no <{pair}>" for pair in sorted(extra)]
    reading.pairs.clear()
    twin.pairs.clear()
    assert not twin.wrong, "\n".join(twin.wrong[:30])
    assert not wrong, "\n".join(wrong[:30])
