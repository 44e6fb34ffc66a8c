"""The document: every route of the JSON API that bears the mark, with the components they share.

It depends on the settings only, so each app makes it once, when it is first asked for.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow.common import make_schema_key
from flask import Flask
from werkzeug.routing import Rule

from app.openapi import annotation_types, problems, security, uploads
from app.openapi.marks import TAGS, Operation
from app.openapi.operations import Writer, is_signed, method_of
from app.openapi.schemas import Converter, Json, Plugin, name_of
from app.schemas.annotations import AnnotationIn, AnnotationOut

VERSION = "1.0.0"  # of the contract: the first number rises when something old clients need changes
ABOUT = """\
What people's programs and pipelines send to Loupe and get from it. JSON in and out, UTF-8; times are RFC 3339 in UTC;
ids are UUIDs. Fields may be added to answers, never renamed. Fields of a body and parameters of a query that are not
described are ignored; an answer that has `ignored` among its fields names them there. Every GET takes HEAD too.
Errors are `application/problem+json`, and their `code` is stable.
JSON is read strictly: no duplicate keys, NaN, numbers beyond 64 bits, or nesting deeper than 32.
"""


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
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, method_of(rule)))
    for rule in rules:
        view = app.view_functions[rule.endpoint]
        mark = getattr(view, "operation", None)
        if mark is not None and not _is_off(app, rule, view):
            yield rule, view, mark


def _is_off(app: Flask, rule: Rule, view: Callable[..., Any]) -> bool:
    belongs = is_signed(app, rule) or hasattr(view, "ml_feature")
    return (belongs and not app.config["ML_ANALYSIS_ENABLED"]) or (
        not app.config.get(getattr(view, "switched_on_by", ""), True)
    )


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
    writers = [Writer(app, spec, converter, *found) for found in described(app)]
    for writer in writers:
        spec.path(_path(writer.rule), operations={method_of(writer.rule).lower(): writer.operation()})
    types = sorted(kind for writer in writers for kind in writer.mark.uploads)
    local = not app.config["S3_BUCKET"]
    _add_problems(spec, [writer.raised() for writer in writers] + [uploads.RAISED] * bool(types and local))
    for tag, says in TAGS.items():
        if any(writer.mark.tag == tag for writer in writers):
            spec.tag({"name": tag, "description": says})
    content = _copied(spec.to_dict())
    if types:
        content["components"]["pathItems"] = uploads.path_items(types, local=local)
    return content


def _add_problems(spec: APISpec, raised: list[set[problems.Kind]]) -> None:
    """Of all codes those that an operation of this document answers with."""
    for name, form in problems.schemas(set().union(*raised)).items():
        spec.components.schema(name, form)
    for name, form in problems.responses(set().union(*map(problems.alone, raised))).items():
        spec.components.response(name, form)


def _add_components(spec: APISpec, converter: Converter, app: Flask) -> None:
    schemes = security.schemes(app.config["SESSION_COOKIE_NAME"])
    spec.components.schema("Problem", schema=problems.Problem)
    for name, form in security.HEADERS.items():
        spec.components.header(name, form)
    for name, form in security.conditions().items():
        spec.components.parameter(name, "header", form)
    if app.config["ML_ANALYSIS_ENABLED"]:
        schemes |= security.signature_schemes()
        for name, form in security.parameters().items():
            spec.components.parameter(name, "header", form)
        for name, form in (problems.RATE_HEADERS | security.EXPORT_HEADERS).items():
            spec.components.header(name, form)
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
