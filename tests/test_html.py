"""The lint of the test client itself: a lint that finds nothing would pass everything."""

import pytest

from tests.html import find_form, form_fields, lint_fragment, lint_page, parse_page

PAGE = """<!doctype html>
<html lang="en"><head><title>Leaves</title><script src="/static/viewer.js" defer></script></head>
<body><h1>Leaves</h1>
<form method="post" action="/projects"><input type="hidden" name="csrf_token" value="t">
<label for="name">Name</label><input id="name" name="name" value="Oak"><select name="sort"><option>newest</option>
<option selected>name</option></select><button name="go" value="1">Make</button></form>
<svg viewBox="0 0 4 3"><title>one box</title><rect width="1" height="1"/></svg>
</body></html>"""

BROKEN_PAGES = {
    "no <title>": ("<title>Leaves</title>", ""),
    "2 <h1>": ("<svg", "<h1>Again</h1><svg"),
    "without lang": (' lang="en"', ""),
    "stands 2 times": ("<svg", '<svg id="name"'),
    "inline <script>": ("<svg", "<script>go()</script><svg"),
    "inline <style>": ("<svg", "<style>p{}</style><svg"),
    "style=": ("<svg", '<svg style="fill:red"'),
    "onclick=": ("<svg", '<svg onclick="go()"'),
    "hx-on": ("<svg", '<svg hx-on:click="go()"'),
    "javascript:": ("<svg", '<a href="javascript:go()">go</a><svg'),
    "no csrf_token": ('<input type="hidden" name="csrf_token" value="t">', ""),
    "no method": (' method="post"', ""),
    "no action": (' action="/projects"', ""),
    "hx-target='#nowhere'": ("<svg", '<svg hx-target="#nowhere"'),
    "for='nobody'": ('for="name"', 'for="nobody"'),
    "without alt": ("<svg", '<img src="/x.png"><svg'),
    "not well-formed": ("</form>", "</form></div>"),
}


def test_a_sound_page_passes() -> None:
    assert lint_page(PAGE) == []


@pytest.mark.parametrize("problem", BROKEN_PAGES)
def test_a_broken_page_does_not(problem: str) -> None:
    sound, broken = BROKEN_PAGES[problem]
    assert sound in PAGE
    assert any(problem in found for found in lint_page(PAGE.replace(sound, broken, 1)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<p id='a'></p>", None),
        ("<tr id='a'><td>1</td></tr>", None),
        ("<p id='a'></p><p id='b' hx-swap-oob='true'></p>", None),
        ("<p id='a' hx-target='#list'></p>", None),
        ("<p id='a'></p><p id='b'></p>", "2 roots"),
        ("<p></p>", "no id"),
        ("<p id='a'></p> and", "text beside"),
        ("<p id='a' hx-target='#nowhere'></p>", "nowhere"),
    ],
)
def test_a_fragment_has_one_root_and_reachable_targets(text: str, problem: str | None) -> None:
    found = lint_fragment(text, frozenset({"list"}))
    assert found == [] if problem is None else any(problem in line for line in found)


def test_a_form_is_filled_in_as_a_browser_would() -> None:
    form = find_form(parse_page(PAGE)[0], "/", "/projects")
    assert form_fields(form) == {"csrf_token": ["t"], "name": ["Oak"], "sort": ["name"]}
