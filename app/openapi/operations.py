"""One operation of the document: what its route, its mark and its guard say, put together."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apispec import APISpec
from flask import Flask
from werkzeug.routing import Rule

from app import errors, guards
from app.openapi import problems, security, uploads
from app.openapi.marks import Answer, Operation
from app.openapi.schemas import Converter, Json, without_null

IDS = {
    "project_id": "The id of a project.",
    "image_id": "The id of an image.",
    "analysis_id": "The id of an analysis.",
}
SAFE = "GET"
DONE = {200: "Done.", 201: "Made."}


def is_signed(app: Flask, rule: Rule) -> bool:
    """Whether the guard of the route's blueprint is the pipeline's."""
    blueprint = rule.endpoint.partition(".")[0]
    return guards.pipeline_caller in app.before_request_funcs.get(blueprint, [])


def method_of(rule: Rule) -> str:
    return min((rule.methods or set()) - {"HEAD", "OPTIONS"}, default="")


@dataclass(frozen=True)
class Writer:
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
        return is_signed(self.app, self.rule)

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
            person.capitalize() + ", with a key" + (" or a session." if method_of(self.rule) == SAFE else ".")
        )

    def security(self) -> list[Json]:
        if self.is_open:
            return []
        if self.is_signed:
            return [*security.SIGNED, *([] if self.needs_signature else security.PEOPLE)]
        return [*security.PEOPLE, *([security.SESSION] if method_of(self.rule) == SAFE else [])]

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
        if 304 in self.mark.answers:
            named += security.conditions()
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
        self._limit(form)
        example = {"example": self.mark.example} if self.mark.example else {}
        return {"requestBody": {"required": True, "content": {kind: {"schema": form, **example}}}}

    def _limit(self, reference: Json) -> None:
        """Puts the limits that settings draw into the component of the body."""
        component = self.spec.components.schemas[reference["$ref"].rpartition("/")[2]]
        for name, (keyword, setting) in self.mark.limits.items():
            component["properties"][name][keyword] = self.app.config[setting]

    def responses(self) -> Json:
        good = {str(status): self._answer(status, answer) for status, answer in self.mark.answers.items()}
        return good | problems.answers(self.raised())

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
            **({"links": uploads.LINKS} if self.mark.uploads else {}),
        }

    def raised(self) -> set[problems.Kind]:
        """What the guard, the address and the payload may meet, and what the route says besides."""
        if self.is_open:
            return {errors.PayloadTooLarge, errors.InternalError, *self.mark.raises}
        raised = {*(security.BY_PIPELINE if self.is_signed else security.BY_PERSON), *self.mark.raises}
        raised.add(errors.InternalError)
        if self.rule.arguments:
            raised.add(errors.NotFound)
        if {"image_id", "analysis_id"} & self.rule.arguments:
            raised.add(errors.Deleted)
        if self.mark.query or self.mark.body or self.mark.form:
            raised.add(errors.InvalidPayload)
        if method_of(self.rule) != SAFE:
            raised.add(errors.UnsupportedMediaType)
        return raised
