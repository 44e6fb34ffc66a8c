"""Errors in the document: what every problem has, and for each code its own schema and response."""

from collections.abc import Collection
from typing import Any

from marshmallow import fields

from app.errors import CODES, InternalError, LoupeError
from app.openapi.schemas import Json
from app.schemas.base import Schema

Kind = type[LoupeError]
PROBLEM_JSON = "application/problem+json"
NUMBER: Json = {"type": "integer"}
TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "array", "items": TEXT}

# the further members of a problem, by code; those that are not always there are told as optional
EXTRAS: dict[str, Json] = {
    "limit-reached": {"limit": NUMBER},
    "too-many-annotations": {"limit": NUMBER},
    "payload-too-large": {"limit": NUMBER},
    "timestamp-skew": {"server_time": NUMBER | {"description": "The server's clock, Unix seconds."}},
    "illegal-transition": {"current": TEXT, "allowed": TEXTS},
    "conflict": {
        "current": TEXT,
        "client_ids": TEXTS,
        "differing": TEXTS,
        "missing": TEXTS,
        "expected": NUMBER,
        "actual": NUMBER,
    },
}
# what a 429 carries beside Retry-After; of signed operations alone
RATE_HEADERS: Json = {
    "X-RateLimit-Limit": {"description": "How many requests the window takes.", "schema": NUMBER},
    "X-RateLimit-Remaining": {"description": "How many of them are left.", "schema": NUMBER},
    "X-RateLimit-Reset": {"description": "When the next is free, Unix seconds.", "schema": NUMBER},
}
ALL: tuple[Kind, ...] = (*CODES.values(), InternalError)


class Fault(Schema):
    """One fault of a payload."""

    field = fields.String(required=True, metadata={"description": "Where: a dotted path."})
    reason = fields.String(required=True)
    index = fields.Integer(metadata={"description": "Which annotation of a bulk request, from 0."})
    place = fields.String(metadata={"description": "Of an import: where in the file that annotation stands."})


class Problem(Schema):
    """RFC 9457."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "A sentence for people."})
    code = fields.String(required=True, metadata={"description": "What a program should look at."})
    request_id = fields.String(
        required=True, metadata={"description": "As in `X-Request-ID` and in the server's log."}
    )
    errors = fields.List(fields.Nested(Fault), metadata={"description": "The faults of a payload."})


def schemas(raised: Collection[Kind]) -> Json:
    """A schema for each code, by name."""
    return {schema_name(error): _schema(error) for error in ALL if error in raised}


def responses(raised: Collection[Kind]) -> Json:
    """A response for each code, by name."""
    return {error.__name__: _response([error]) for error in ALL if error in raised}


def answers(raised: Collection[Kind]) -> Json:
    """The responses of an operation by status: the component, or what several codes of one status have together."""
    return {
        str(status): _reference("responses", errors[0].__name__) if len(errors) == 1 else _response(errors)
        for status, errors in _by_status(raised).items()
    }


def alone(raised: Collection[Kind]) -> set[Kind]:
    """Those whose status means nothing else at this operation: it refers to their response."""
    return {errors[0] for errors in _by_status(raised).values() if len(errors) == 1}


def _by_status(raised: Collection[Kind]) -> dict[int, list[Kind]]:
    found: dict[int, list[Kind]] = {}
    for error in ALL:
        if error in raised:
            found.setdefault(error.status, []).append(error)
    return found


def schema_name(error: Kind) -> str:
    return f"{error.__name__}Problem"


def _reference(section: str, name: str) -> Json:
    return {"$ref": f"#/components/{section}/{name}"}


def _schema(error: Kind) -> Json:
    own = {
        "type": {"const": f"urn:loupe:error:{error.code}"},
        "status": {"const": error.status},
        "code": {"const": error.code},
    }
    return {
        "title": error.title,
        "allOf": [_reference("schemas", "Problem")],
        "properties": own | EXTRAS.get(error.code, {}),
    }


def _response(errors: list[Kind]) -> Json:
    told = [_reference("schemas", schema_name(error)) for error in errors]
    schema: Any = told[0] if len(told) == 1 else {"anyOf": told}
    return {
        "description": " · ".join(f"`{error.code}`: {error.title}." for error in errors),
        "headers": {name: _reference("headers", name) for name in _headers(errors)},
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _headers(errors: list[Kind]) -> list[str]:
    names = ["X-Request-ID"]
    if any(error.status in (429, 503) for error in errors):
        names.append("Retry-After")
    if any(error.status == 429 for error in errors):
        names += RATE_HEADERS
    if any(error.code == "unauthenticated" for error in errors):
        names.append("WWW-Authenticate")
    return names
