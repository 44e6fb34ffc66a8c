"""What is asked of every page in a real browser; each function gives what is wrong, a line each."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page

LINE = 28  # pixels: what stands in one line may differ by as much
MOST_STOPS = 1000
AT_ONCE = 16  # presses

CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary"

# A control as it is met: itself, or the label that stands for it where it is not seen itself.
_COMMON = (
    f"const CONTROLS = {CONTROLS!r};"
    """
    const seen = (it) => it.checkVisibility({visibilityProperty: true}) && it.getClientRects().length > 0;
    const standsFor = (it) => {
        const label = it.labels?.[0];
        const hidden = getComputedStyle(it).opacity === "0";
        const ticked = ["checkbox", "radio"].includes(it.type);
        return label && (hidden || ticked) ? label.querySelector(".button") ?? label : it;
    };
    const told = (it) => `<${it.tagName.toLowerCase()}${it.id ? "#" + it.id : ""}> ` +
        (it.getAttribute("aria-label") ?? it.textContent).trim().replace(/\\s+/g, " ").slice(0, 50);
    const floats = (it) => {
        for (let at = it; at && at !== document.body; at = at.parentElement)
            if (["absolute", "fixed", "sticky"].includes(getComputedStyle(at).position)) return true;
        return false;
    };
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
"""
)

# No scrolling sideways; no text cut off where nothing says that it may be; no text or control on top of another.
LAYOUT = (
    "() => {"
    + _COMMON
    + """
    const wrong = [];
    const page = document.documentElement;
    if (page.scrollWidth > innerWidth) wrong.push(`scrolls sideways: ${page.scrollWidth} > ${innerWidth}`);
    const whole = document.querySelector(".workspace");
    if (whole && innerWidth > 900 && whole.getBoundingClientRect().bottom + scrollY + 1 < page.scrollHeight)
        wrong.push("there is nothing below the workspace, and yet it scrolls");
    const own = (it) => [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const texts = [...document.body.querySelectorAll("*")].filter((it) =>
        !it.closest("svg, .visually-hidden, .skip, option, template, script, noscript") && own(it) && seen(it));
    const boxes = ".button, .icon, .segmented label, .badge, .statusline, .bar, select, h1, h2";
    for (const it of document.querySelectorAll(boxes)) {
        if (!seen(it) || it.matches(".visually-hidden") || it.querySelector("details[open]")) continue;
        if (it.scrollHeight > it.clientHeight + 2 && it.clientHeight) wrong.push(`cut off below: ${told(it)}`);
    }
    for (const it of texts) {
        const style = getComputedStyle(it);
        const may = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
        const hides = style.overflowX === "hidden" && it.scrollWidth > it.clientWidth + 1;
        if (hides && !may) wrong.push(`cut off: ${told(it)}`);
    }
    const within = (a, b) => ({left: Math.max(a.left, b.left), right: Math.min(a.right, b.right),
                               top: Math.max(a.top, b.top), bottom: Math.min(a.bottom, b.bottom)});
    const words = texts.slice(0, 400).filter((it) => !floats(it)).flatMap((it) =>
        [...it.childNodes].filter((node) => node.nodeType === 3 && node.data.trim()).flatMap((node) => {
            const range = document.createRange(), free = getComputedStyle(it).overflowX === "visible";
            range.selectNodeContents(node);
            return [...range.getClientRects()].map((box) => [it, free ? box : within(box, it.getBoundingClientRect())]);
        }));
    const pairs = (list) => {
        list.forEach(([one, a], i) => {
            for (const [other, b] of list.slice(i + 1))
                if (!one.contains(other) && !other.contains(one) && meet(a, b))
                    wrong.push(`${told(one)} lies over ${told(other)}`);
        });
    };
    const inside = ([it, box]) => {  // what scrolls in a box of its own is seen inside it only
        for (let at = it.parentElement; at && at !== document.body; at = at.parentElement)
            if (getComputedStyle(at).overflowX !== "visible") box = within(box, at.getBoundingClientRect());
        return [it, box];
    };
    pairs(words.map(inside));
    const controls = [...document.querySelectorAll(CONTROLS)].filter(seen).map(standsFor).filter((it) => !floats(it));
    pairs([...new Set(controls)].slice(0, 300).map((it) => [it, it.getBoundingClientRect()]).map(inside));
    return [...new Set(wrong)].slice(0, 12);
}"""
)

# of a line of the text that every page begins with
FIRST_HEIGHT = "() => document.querySelector('.brand').getBoundingClientRect().height"

# WCAG 2.5.8: 24 by 24 pixels, but for links inside a text.
TARGETS = (
    "() => {"
    + _COMMON
    + """
    const wrong = [];
    for (const control of document.querySelectorAll(CONTROLS)) {
        const it = standsFor(control);
        const {width, height} = it.getBoundingClientRect();
        if (!seen(it) || it.matches(".skip") || getComputedStyle(it).display === "inline") continue;
        if (width < 24 || height < 24) wrong.push(`${width.toFixed(1)} × ${height.toFixed(1)}: ${told(it)}`);
    }
    return [...new Set(wrong)].slice(0, 12);
}"""
)

# What has the focus, numbered as first met; where it stands on the whole page, whatever has been scrolled.
FOCUSED = (
    "() => {"
    + _COMMON
    + """
    const it = document.activeElement;
    if (!it || it === document.body || it === document.documentElement) return null;
    const met = window.metByTab ??= [];
    if (!met.includes(it)) met.push(it);
    const place = standsFor(it), box = place.getClientRects()[0] ?? place.getBoundingClientRect();
    let down = scrollY;
    for (let at = place.parentElement; at && at !== document.body; at = at.parentElement) down += at.scrollTop;
    const ring = [it, place, ...(it.labels ?? [])].some((part) => {
        const style = getComputedStyle(part);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    });
    // of what is taller than the window as much as is seen; an open menu lies over the page until it is closed
    // a slider that lets the pointer through its track is met at its handle
    const {pointerEvents} = getComputedStyle(place);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const handle = rem * parseFloat(getComputedStyle(place).getPropertyValue("--handle"));
    const thumb = box.left + handle / 2 + (place.value - place.min) / (place.max - place.min) * (box.width - handle);
    const free = (pointerEvents === "none" ? [thumb] : [box.left + 6, (box.left + box.right) / 2]).some((x) => {
        const middle = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
        const hit = document.elementFromPoint(x, middle);
        return hit && (place.contains(hit) || hit.contains(place) || place.closest("label")?.contains(hit)
            || hit.closest("details[open] > .menu-list"));
    });
    return {number: met.indexOf(it), name: told(it), ring, free: Boolean(free), positive: it.tabIndex > 0,
            left: box.left, right: box.right, top: box.top + down, control: it.matches(CONTROLS)};
}"""
)

# The same for each key that is let go, from now on: what has the focus then has been scrolled to.
FOLLOW = (
    "() => { const focused = "
    + FOCUSED
    + """;
    const note = (it) => it.key === "Tab" && window.stopsByTab.push(focused());
    if (!window.stopsByTab) addEventListener("keyup", note, true);
    window.stopsByTab = [];
}"""
)
FOLLOWED = "() => window.stopsByTab.splice(0)"

UNREACHED = (
    "() => {"
    + _COMMON
    + """
    const met = window.metByTab ?? [];
    const named = (it) => it.type === "radio" ? met.some((other) => other.name === it.name) : met.includes(it);
    return [...document.querySelectorAll(CONTROLS)]
        .filter((it) => seen(it) && !it.disabled && !named(it)).map((it) => `never reached by Tab: ${told(it)}`);
}"""
)

# The browser may still list an animation that the style has just taken away.
MOVING = """() => document.getAnimations()
    .filter((it) => it.playState === "running" && it.effect.target)
    .filter((it) => !it.animationName || getComputedStyle(it.effect.target).animationName !== "none")
    .map((it) => `moves: ${it.animationName ?? it.transitionProperty} on ${it.effect.target.outerHTML.slice(0, 80)}`)"""

# every rule of the levels A and AA, of all versions, and the best practices
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
AXE_RUN = """async (only) => {
    const found = await axe.run(document, {runOnly: only, resultTypes: ["violations"]});
    return found.violations.map((rule) =>
        `axe ${rule.id}: ${rule.help}: ${rule.nodes.slice(0, 3).map((node) =>
            `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
}"""


@cache
def axe_script() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


# What axe's rules about colours depend on: what is seen, in which colours and sizes.
COLOURS = """() => JSON.stringify([...document.body.querySelectorAll("*")].map((it) => {
    if (!it.checkVisibility({visibilityProperty: true})) return "";
    const {color, backgroundColor, backgroundImage, opacity, fontSize, fontWeight} = getComputedStyle(it);
    return [it.tagName, color, backgroundColor, backgroundImage, opacity, fontSize, fontWeight].join();
}))"""


def colours(page: Page) -> str:
    """The same for two looks of a page on which axe finds the same about colours."""
    found: str = page.evaluate(COLOURS)
    return found


def axe(page: Page, *, colours_only: bool = False) -> list[str]:
    """What axe-core finds. It is run by the debugger of the browser, which the policy of the page does not concern."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(axe_script())
    only = ["color-contrast", "link-in-text-block"] if colours_only else AXE_TAGS
    found: list[str] = page.evaluate(AXE_RUN, {"type": "rule" if colours_only else "tag", "values": only})
    return found


def layout(page: Page) -> list[str]:
    found: list[str] = page.evaluate(LAYOUT)
    return found


def targets(page: Page) -> list[str]:
    found: list[str] = page.evaluate(TARGETS)
    return [f"smaller than 24 × 24: {line}" for line in found]


def tab_stops(page: Page, key: str = "Tab", *, scripted: bool = True) -> Iterator[dict[str, Any]]:
    """What gets the focus after what has it, to the end of the page."""
    now = page.evaluate(FOCUSED)
    met, last = {now["number"]} if now else set(), now
    for stop in _pressed(page, key) if scripted else _pressed_one_by_one(page, key):
        if last and stop and stop["number"] == last["number"]:
            continue  # from the day to the month of a date
        if stop is None or stop["number"] in met:
            return
        met.add(stop["number"])
        last = stop
        yield stop


def _pressed(page: Page, key: str) -> Iterator[dict[str, Any] | None]:
    """The page itself notes where the focus is after each press, and is asked for many at once."""
    page.evaluate(FOLLOW)
    for _ in range(0, MOST_STOPS, AT_ONCE):
        for _ in range(AT_ONCE):
            page.keyboard.press(key)
        found = page.evaluate(FOLLOWED)
        # beyond the last control the focus leaves the page, which is told of no more keys
        yield from found if len(found) == AT_ONCE else [*found, None]


def _pressed_one_by_one(page: Page, key: str) -> Iterator[dict[str, Any] | None]:
    """For a page that runs no scripts, and so takes no notes."""
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        yield page.evaluate(FOCUSED)


def keyboard(page: Page, *, scripted: bool = True) -> list[str]:
    """The order of Tab from the top of the page, whether the focus is seen, and what it never comes to; with scripts
    also the way back."""
    first = page.evaluate(
        f"() => {{ window.metByTab = []; const it = document.querySelector('{CONTROLS}');"
        " it.focus(); return it.className; }"
    )
    stops = [page.evaluate(FOCUSED), *tab_stops(page, scripted=scripted)]
    wrong = [] if first == "skip" else ["the skip link is not the first that Tab comes to"]
    wrong += list(page.evaluate(UNREACHED)) + _seen(stops[1:])
    for one, other in pairwise(stops):
        above = other["top"] < one["top"] - LINE
        if above and other["left"] < one["right"] and other["right"] > one["left"]:
            wrong.append(f"Tab jumps up from {one['name']} to {other['name']}")
    if not scripted:
        return wrong
    page.evaluate("() => { const last = window.metByTab.at(-1); window.metByTab = []; last.focus(); }")
    back = list(tab_stops(page, "Shift+Tab"))
    wrong += (
        [] if len(back) >= len(stops) - 1 else [f"backwards: {len(back) + 1} stops instead of {len(stops)}"]
    )
    return wrong + [f"backwards: {line}" for line in _seen(back)]


def _seen(stops: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for stop in stops:
        wrong += [f"the focus is not seen on {stop['name']}"] if stop["control"] and not stop["ring"] else []
        wrong += [f"something lies over {stop['name']}"] if not stop["free"] else []
        wrong += [f"a positive tabindex: {stop['name']}"] if stop["positive"] else []
    return wrong


def moving(page: Page) -> list[str]:
    found: list[str] = page.evaluate(MOVING)
    return found
