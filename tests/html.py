"""A test client that lints every HTML answer it gets, and fills in forms the way a browser without JavaScript does."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element

import html5lib
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

# where a fragment's root stands decides how it is parsed
CONTAINERS = {"tr": "tbody", "td": "tr", "th": "tr", "tbody": "table", "thead": "table", "option": "select"}
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "list", "form")
FORM_METHODS = ("get", "post", "dialog")
UNSAFE_HX = ("hx-post", "hx-put", "hx-patch", "hx-delete")
TEXT_INPUTS = ("hidden", "text", "email", "password", "search", "number", "range", "")


class LintClient(FlaskClient):
    """Fails the test when an HTML answer breaks a rule of the house.

    `page_ids` are the ids of the last whole page: what a fragment may aim at.
    """

    page_ids: frozenset[str] = frozenset()

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        if response.mimetype == "text/html" and not 300 <= response.status_code < 400 and response.data:
            self._lint(response)
        if (response.mimetype or "").startswith("image/"):
            response.get_data()  # a test that looks at the headers alone would leave the file of the storage open
            response.close()
        return response

    def _lint(self, response: TestResponse) -> None:
        sent = response.request.headers
        htmx = sent.get("HX-Request") == "true" and sent.get("HX-History-Restore-Request") != "true"
        problems = lint_fragment(response.text, self.page_ids) if htmx else lint_page(response.text)
        if htmx == is_page(response.text):
            problems.insert(0, "htmx got a whole page" if htmx else "a fragment where a page was asked for")
        if not htmx:
            self.page_ids = frozenset(ids_of(parse_page(response.text)[0]))
        where = f"{response.request.method} {response.request.path}"
        assert not problems, f"{where} ({response.status_code}):\n  " + "\n  ".join(problems)

    def submit(
        self,
        page: str,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        button: str | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        """Opens `page`, fills in its form with this `action`, and sends it with all its fields and its CSRF token.

        `data` goes over what the form holds; a name the form does not have is a mistake. `button` is `name=value` of
        the button pressed. The answer is not followed.
        """
        response = self.get(page)
        assert response.status_code == 200, f"GET {page}: {response.status_code}"
        form = find_form(parse_page(response.text)[0], page, action, data or {})
        fields: dict[str, Any] = {**form_fields(form)}
        for name, value in (data or {}).items():
            assert name in fields or has_field(form, name), f"the form {action} has no field {name!r}"
            fields[name] = value
        if button:
            name, _, value = button.partition("=")
            fields[name] = value
        target = urljoin(page, form.get("action") or page)
        if form.get("method", "get").lower() == "get":
            return self.get(target.split("?")[0], query_string=fields, **kwargs)
        return self.post(target, data=fields, content_type=form.get("enctype"), **kwargs)


def is_page(text: str) -> bool:
    return text.lstrip()[:9].lower() == "<!doctype"


@lru_cache(maxsize=8)  # linted, then searched for forms: the same few pages again and again
def parse_page(text: str) -> tuple[Element, list[str]]:
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False)
    return parser.parse(text), [f"not well-formed at {place}: {code}" for place, code, _ in parser.errors]


def parse_fragment(text: str) -> tuple[Element, list[str]]:
    first = re.match(r"\s*<([a-z0-9]+)", text)
    container = CONTAINERS.get(first.group(1), "div") if first else "div"
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False)
    root = parser.parseFragment(text, container=container)
    return root, [f"not well-formed at {place}: {code}" for place, code, _ in parser.errors]


def elements(root: Element) -> list[Element]:
    """Every element, without comments."""
    return [element for element in root.iter() if isinstance(element.tag, str)]


def tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def ids_of(root: Element) -> list[str]:
    return [element.attrib["id"] for element in elements(root) if "id" in element.attrib]


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def lint_page(text: str) -> list[str]:
    root, malformed = parse_page(text)
    problems = list(malformed)
    found = elements(root)
    titles = [element for element in found if tag(element) == "title" and text_of(element)]
    headings = [element for element in found if tag(element) == "h1"]
    # an SVG's <title> is a label, not the title of the page
    head = root.find("head")
    if head is None or not any(tag(child) == "title" for child in head) or not titles:
        problems.append("no <title>")
    if len(headings) != 1 or not text_of(headings[0]):
        problems.append(f"{len(headings)} <h1>, not one with a text")
    if not root.get("lang"):
        problems.append("<html> without lang")
    return problems + _lint_common(root, frozenset(ids_of(root)))


def lint_fragment(text: str, page_ids: frozenset[str]) -> list[str]:
    root, problems = parse_fragment(text)
    roots = [child for child in root if isinstance(child.tag, str) and "hx-swap-oob" not in child.attrib]
    if len(roots) != 1:
        problems.append(f"{len(roots)} roots, not one")
    problems += [f"the root <{tag(child)}> has no id" for child in roots if "id" not in child.attrib]
    if (root.text or "").strip() or any((child.tail or "").strip() for child in root):
        problems.append("text beside the root")
    return problems + _lint_common(root, page_ids | frozenset(ids_of(root)))


def _lint_common(root: Element, reachable: frozenset[str]) -> list[str]:
    problems = [f"id {name!r} stands {n} times" for name, n in Counter(ids_of(root)).items() if n > 1]
    for element in elements(root):
        problems += _lint_inline(element)
        problems += _lint_references(element, reachable)
        if tag(element) == "form":
            problems += _lint_form(element)
        if tag(element) == "img" and "alt" not in element.attrib:
            problems.append(f"<img src={element.get('src')!r}> without alt")
    return problems


def _lint_inline(element: Element) -> list[str]:
    name, problems = tag(element), []
    if name == "style" or (name == "script" and not element.get("src")):
        problems.append(f"inline <{name}>")
    for attribute, value in element.attrib.items():
        attribute = str(attribute).rpartition("}")[2].lower()
        if attribute == "style" or attribute.startswith(("on", "hx-on")):
            problems.append(f"<{name} {attribute}=…>")
        if attribute in ("href", "action", "src") and value.strip().lower().startswith("javascript:"):
            problems.append(f"<{name} {attribute}=javascript:…>")
        if attribute.startswith("hx-") and value.strip().lower().startswith(("js:", "javascript:")):
            problems.append(f"<{name} {attribute}> needs eval")
    return problems


def _lint_references(element: Element, reachable: frozenset[str]) -> list[str]:
    problems = []
    for attribute in ("hx-target", "hx-indicator", "hx-include"):
        value = element.get(attribute, "")
        if re.fullmatch(r"#[\w-]+", value) and value[1:] not in reachable:
            problems.append(f"{attribute}={value!r} is nowhere on the page")
    for attribute in REFERENCES:
        missing = [name for name in element.get(attribute, "").split() if name not in reachable]
        problems += [f"<{tag(element)} {attribute}={name!r}> names nothing on the page" for name in missing]
    return problems


def _lint_form(form: Element) -> list[str]:
    method, action = form.get("method", "").lower(), form.get("action")
    problems = []
    if method not in FORM_METHODS:
        problems.append(f"<form action={action!r}> has no method")
    if not action and method != "dialog":
        problems.append("<form> has no action")
    token = any(field.get("name") == "csrf_token" and field.get("value") for field in elements(form))
    if method == "post" and not token:
        problems.append(f"<form action={action!r}> has no csrf_token")
    if method == "get" and token:
        problems.append(f"<form action={action!r}> puts the csrf_token into the address")
    if method == "get" and any(name in form.attrib for name in UNSAFE_HX):
        problems.append(f"<form action={action!r}> does something else without JavaScript")
    return problems


def find_form(root: Element, page: str, action: str, names: Iterable[str] = ()) -> Element:
    """The form whose action leads to the path `action`; of several the first that has fields with these names."""
    forms = [element for element in elements(root) if tag(element) == "form"]
    paths = [urlsplit(urljoin(page, form.get("action") or page)).path for form in forms]
    found = [form for form, path in zip(forms, paths, strict=True) if path == urlsplit(action).path]
    if not found:
        raise AssertionError(f"no form with action {action} on {page}, only {paths}")
    return next((form for form in found if all(has_field(form, name) for name in names)), found[0])


def has_field(form: Element, name: str) -> bool:
    return any(field.get("name") == name for field in elements(form))


def form_fields(form: Element) -> dict[str, list[str]]:
    """What a browser would send if nobody touched the form, but for files and buttons."""
    fields: dict[str, list[str]] = {}
    for field in elements(form):
        name = field.get("name")
        if not name or "disabled" in field.attrib:
            continue
        kind = field.get("type", "").lower()
        if tag(field) == "input" and kind in TEXT_INPUTS:
            fields.setdefault(name, []).append(field.get("value", ""))
        elif tag(field) == "input" and kind in ("checkbox", "radio") and "checked" in field.attrib:
            fields.setdefault(name, []).append(field.get("value", "on"))
        elif tag(field) == "textarea":
            fields.setdefault(name, []).append(field.text or "")
        elif tag(field) == "select":
            fields.setdefault(name, []).append(_selected(field))
    return fields


def _selected(field: Element) -> str:
    options = [option for option in elements(field) if tag(option) == "option"]
    chosen = next((o for o in options if "selected" in o.attrib), options[0] if options else None)
    return "" if chosen is None else chosen.get("value", text_of(chosen))
