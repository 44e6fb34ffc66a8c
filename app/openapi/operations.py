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
    def is_required(self) -> bool:
        return bool(self.app.config["ML_PIPELINE_REQUIRE_HMAC"])

    @property
    def needs_signature(self) -> bool:
        return self.is_signed and self.is_required and not hasattr(self.view, "unsigned_for_people")

    @property
    def takes_pipeline_key(self) -> bool:
        """Whether a pipeline's key is enough without a signature."""
        marked = any(hasattr(self.view, mark) for mark in ("unsigned_for_keys", "open_to_pipelines"))
        return marked or (self.is_signed and not self.is_required)

    def who(self) -> str:
        role = {"viewer": "any member of the project", "": "anyone with an account"}.get(self.mark.role)
        person = role or f"an {self.mark.role} of the project"
        if self.is_open:
            return "Anyone."
        if self.needs_signature:
            return "A pipeline: the request is signed."
        if self.is_signed:
            proof = "with its key or a signature" if self.takes_pipeline_key else "that signs the request"
            return f"A pipeline {proof}, or {person} with a key."
        asked = person.capitalize() + ", with a key" + (" or a session" if self.is_read else "")
        return asked + (", or a pipeline with its key or a v2 signature." if self.takes_pipeline_key else ".")

    @property
    def is_read(self) -> bool:
        return method_of(self.rule) == SAFE

    def security(self) -> list[Json]:
        if self.is_open:
            return []
        if self.is_signed:
            return [*security.SIGNED, *([] if self.needs_signature else security.PEOPLE)]
        session = [security.SESSION] if self.is_read else []
        return [*security.PEOPLE, *session, *([security.V2] if self.takes_pipeline_key else [])]

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
        named = [*self.mark.parameters, *self._signature_headers()]
        if 304 in self.mark.answers:
            named += security.conditions()
        shared = security.parameters()
        needed = security.SIGNATURE_HEADERS[:2] if self.needs_signature else ()
        # a name alone is apispec's way to refer to a component
        return [shared[name] | {"required": True} if name in needed else name for name in named]

    def _signature_headers(self) -> tuple[str, ...]:
        return security.SIGNATURE_HEADERS if self.is_signed or self.takes_pipeline_key else ()

    def body(self) -> Json:
        schema, kind = self.mark.body or self.mark.form, "application/json"
        if self.mark.files:
            return {"requestBody": {"required": True, "content": {kind: {} for kind in self.mark.files}}}
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
            whole = {"type": "array", "items": form} if answer.many else form
            content["application/json"] = {
                "schema": {"anyOf": [whole, *answer.besides]} if answer.besides else whole
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
        by_reader = security.BY_READER if self.takes_pipeline_key else security.BY_PERSON
        raised = {*(security.BY_PIPELINE if self.is_signed else by_reader), *self.mark.raises}
        raised.add(errors.InternalError)
        if self.rule.arguments:
            raised.add(errors.NotFound)
        if {"image_id", "analysis_id"} & self.rule.arguments:
            raised.add(errors.Deleted)
        if self.mark.query or self.mark.body or self.mark.form or self.mark.files:
            raised.add(errors.InvalidPayload)
        if not self.is_read:
            raised.add(errors.UnsupportedMediaType)
        return raised
