"""The document: every route of the JSON API that bears the mark, with the components they share.

It depends on the settings only, so each app makes it once, when it is first asked for.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow.common import make_schema_key
from flask import Flask
from werkzeug.routing import Rule

from app import errors, guards
from app.openapi import annotation_types, problems, security
from app.openapi.marks import TAGS, Answer, Operation
from app.openapi.schemas import Converter, Json, Plugin, name_of, without_null
from app.schemas.annotations import AnnotationIn, AnnotationOut

VERSION = "1.0.0"  # of the contract: the first number rises when something old clients need changes
ABOUT = """\
What people's programs and pipelines send to Loupe and get from it. JSON in and out, UTF-8; times are RFC 3339 in UTC;
ids are UUIDs. Fields may be added to answers, never renamed. Unknown fields of a request are ignored and named in the
answer's `ignored`. Every GET takes HEAD too. Errors are `application/problem+json`, and their `code` is stable.
JSON is read strictly: no duplicate keys, NaN, numbers beyond 64 bits, or nesting deeper than 32.
"""
IDS = {
    "project_id": "The id of a project.",
    "image_id": "The id of an image.",
    "analysis_id": "The id of an analysis.",
}
SAFE = "GET"
DONE = {200: "Done.", 201: "Made."}


@dataclass(frozen=True)
class Document:
    """`content` as Python values, `body` as it is sent, `etag` of the body."""

    content: Json
    body: bytes
    etag: str


def document(app: Flask) -> Document:
    """The app's own, made at the first call."""
    made: Document | None = app.extensions.get("openapi")
    if made is None:
        content = _build(app)
        body = orjson.dumps(content)
        made = app.extensions["openapi"] = Document(content, body, hashlib.sha256(body).hexdigest()[:32])
    return made


def described(app: Flask) -> Iterator[tuple[Rule, Callable[..., Any], Operation]]:
    """The routes of the document, by path and method; those that are switched off are not there."""
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, _method(rule)))
    for rule in rules:
        view = app.view_functions[rule.endpoint]
        mark = getattr(view, "operation", None)
        if mark is not None and not _is_off(app, rule, view):
            yield rule, view, mark


def _is_off(app: Flask, rule: Rule, view: Callable[..., Any]) -> bool:
    belongs = _is_signed(app, rule) or hasattr(view, "ml_feature")
    return belongs and not app.config["ML_ANALYSIS_ENABLED"]


def _is_signed(app: Flask, rule: Rule) -> bool:
    """Whether the guard of the route's blueprint is the pipeline's."""
    blueprint = rule.endpoint.partition(".")[0]
    return guards.pipeline_caller in app.before_request_funcs.get(blueprint, [])


def _method(rule: Rule) -> str:
    return min((rule.methods or set()) - {"HEAD", "OPTIONS"}, default="")


def _build(app: Flask) -> Json:
    plugin = Plugin(schema_name_resolver=name_of)
    spec = APISpec(
        "Loupe",
        VERSION,
        "3.1.0",
        plugins=[plugin],
        info={"description": ABOUT},
        servers=[{"url": app.config["PUBLIC_URL"] or "/"}],
    )
    converter = plugin.converter
    assert isinstance(converter, Converter)
    _add_components(spec, converter, app)
    used = set()
    for rule, view, mark in described(app):
        used.add(mark.tag)
        writer = _Writer(app, spec, converter, rule, view, mark)
        spec.path(_path(rule), operations={_method(rule).lower(): writer.operation()})
    for tag, says in TAGS.items():
        if tag in used:
            spec.tag({"name": tag, "description": says})
    return _copied(spec.to_dict())


def _add_components(spec: APISpec, converter: Converter, app: Flask) -> None:
    schemes = security.schemes(app.config["SESSION_COOKIE_NAME"])
    spec.components.schema("Problem", schema=problems.Problem)
    for name, form in problems.schemas().items():
        spec.components.schema(name, form)
    for name, form in security.HEADERS.items():
        spec.components.header(name, form)
    for name, form in problems.responses().items():
        spec.components.response(name, form)
    if app.config["ML_ANALYSIS_ENABLED"]:
        schemes |= security.signature_schemes()
        for name, form in security.parameters().items():
            spec.components.parameter(name, "header", form)
        for name, form in annotation_types.components(converter).items():
            spec.components.schema(name, form)
        # two of these are by type: whatever nests their Marshmallow schema refers to what was made here
        converter.refs |= {make_schema_key(made()): name_of(made) for made in (AnnotationIn, AnnotationOut)}
    for name, form in schemes.items():
        spec.components.security_scheme(name, form)


def _copied(content: Json) -> Json:
    """A plain copy: apispec hands out what it goes on using."""
    plain: Json = orjson.loads(orjson.dumps(content))
    return plain


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)


@dataclass(frozen=True)
class _Writer:
    """Writes one operation."""

    app: Flask
    spec: APISpec
    converter: Converter
    rule: Rule
    view: Callable[..., Any]
    mark: Operation

    def operation(self) -> Json:
        summary, _, more = inspect.cleandoc(self.view.__doc__ or "").partition("\n")
        described = {"description": more.strip()} if more.strip() else {}
        return {
            "operationId": self.view.__name__,
            "tags": [self.mark.tag],
            "summary": summary,
            **described,
            "x-who": self.who(),
            "security": self.security(),
            "parameters": self.parameters(),
            **self.body(),
            "responses": self.responses(),
        }

    @property
    def is_signed(self) -> bool:
        return _is_signed(self.app, self.rule)

    @property
    def is_open(self) -> bool:
        return hasattr(self.view, "open_to_anyone")

    @property
    def needs_signature(self) -> bool:
        required = self.app.config["ML_PIPELINE_REQUIRE_HMAC"] and not hasattr(
            self.view, "unsigned_for_people"
        )
        return self.is_signed and bool(required)

    def who(self) -> str:
        role = {"viewer": "any member of the project", "": "anyone with an account"}.get(self.mark.role)
        person = role or f"an {self.mark.role} of the project"
        if self.is_open:
            return "Anyone."
        if self.needs_signature:
            return "A pipeline: the request is signed."
        if self.is_signed:
            return f"A pipeline that signs the request, or {person} with a key."
        return (
            person.capitalize() + ", with a key" + (" or a session." if _method(self.rule) == SAFE else ".")
        )

    def security(self) -> list[Json]:
        if self.is_open:
            return []
        if self.is_signed:
            return [security.SIGNATURE, *([] if self.needs_signature else security.PEOPLE)]
        return [*security.PEOPLE, *([security.SESSION] if _method(self.rule) == SAFE else [])]

    def parameters(self) -> list[Json | str]:
        in_path: list[Json | str] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": IDS[name],
                "schema": {"type": "string", "format": "uuid"},
            }
            for name in sorted(self.rule.arguments)
        ]
        return [*in_path, *self._query(), *self._headers()]

    def _query(self) -> list[Json]:
        if self.mark.query is None:
            return []
        sent: list[Json] = self.converter.schema2parameters(self.mark.query, location="query")
        return [without_null(parameter) for parameter in sent]

    def _headers(self) -> list[Json | str]:
        named = [*self.mark.parameters, *(security.SIGNATURE_HEADERS if self.is_signed else ())]
        shared = security.parameters()
        needed = security.SIGNATURE_HEADERS[:2] if self.needs_signature else ()
        # a name alone is apispec's way to refer to a component
        return [shared[name] | {"required": True} if name in needed else name for name in named]

    def body(self) -> Json:
        schema, kind = self.mark.body or self.mark.form, "application/json"
        if schema is None:
            return {}
        if self.mark.form:
            kind = "multipart/form-data"
        form: Json = self.converter.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]
        example = {"example": self.mark.example} if self.mark.example else {}
        return {"requestBody": {"required": True, "content": {kind: {"schema": form, **example}}}}

    def responses(self) -> Json:
        good = {str(status): self._answer(status, answer) for status, answer in self.mark.answers.items()}
        return good | problems.answers(self._raised())

    def _answer(self, status: int, answer: Answer) -> Json:
        headers = {
            name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *answer.headers)
        }
        content: Json = {}
        if answer.schema:
            form: Json = self.converter.resolve_nested_schema(answer.schema)  # type: ignore[no-untyped-call]
            content["application/json"] = {
                "schema": {"type": "array", "items": form} if answer.many else form
            }
        for kind in answer.types:
            content.setdefault(kind, {})
        return {
            "description": answer.says or DONE[status],
            "headers": headers,
            **({"content": content} if content else {}),
        }

    def _raised(self) -> set[type[errors.LoupeError]]:
        """What the guard, the address and the payload may meet, and what the route says besides."""
        if self.is_open:
            return {errors.PayloadTooLarge, *self.mark.raises}
        raised = {*(security.BY_PIPELINE if self.is_signed else security.BY_PERSON), *self.mark.raises}
        if self.rule.arguments:
            raised.add(errors.NotFound)
        if {"image_id", "analysis_id"} & self.rule.arguments:
            raised.add(errors.Deleted)
        if self.mark.query or self.mark.body or self.mark.form:
            raised.add(errors.InvalidPayload)
        if _method(self.rule) != SAFE:
            raised.add(errors.UnsupportedMediaType)
        return raised
