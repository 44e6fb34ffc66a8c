"""The document as people read it: flat rows and short words, ready for the page. Pure functions on the document."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.annotations import ALIASES, TYPES
from app.errors import InternalError, MethodNotAllowed
from app.openapi.annotation_types import SENT, component_name
from app.openapi.problems import ALL, EXTRAS, schema_name
from app.openapi.schemas import Json
from app.openapi.security import parameters

WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
    "array": "list",
}
EVERYWHERE = "X-Request-ID"  # on every answer, so it is said once
FORMATS = {"uuid": "UUID", "date-time": "time", "date": "day", "uri": "address", "binary": "file"}


@dataclass(frozen=True)
class Row:
    """A field or parameter. `target` is the id of what its kind is told at, "" for none."""

    name: str
    kind: str
    target: str
    required: bool
    says: str
    place: str = ""


@dataclass(frozen=True)
class Told:
    """An answer; `codes` are those of the errors this status stands for, `headers` those it has of its own."""

    status: str
    says: str
    kind: str = ""
    target: str = ""
    codes: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperationTold:
    id: str
    method: str
    path: str
    summary: str
    description: str
    who: str
    parameters: list[Row]
    body_kind: str
    body: list[Row]
    example: str
    answers: list[Told]

    @property
    def short(self) -> str:
        """The first words of the summary, for the contents."""
        return re.split(r"[:,;.]", self.summary)[0]


@dataclass(frozen=True)
class Named:
    """A header, or a way to prove who is asking: `name` as it is sent, `place` where."""

    name: str
    says: str
    place: str = ""


@dataclass(frozen=True)
class ErrorTold:
    """An error; `extra` are the names of the further members of its problem."""

    status: int
    code: str
    title: str
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    name: str
    says: str
    operations: list[OperationTold]


@dataclass(frozen=True)
class Shape:
    """An object: its rows, or one list of rows for each of its forms."""

    id: str
    name: str
    forms: list[list[Row]]
    example: str = ""
    accepts: str = ""


class Reader:
    """Reads one document."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self.components: Json = content["components"]
        self.schemas: Json = self.components["schemas"]
        self.anchors = {name: f"shape-{name}" for name in self._reached()}
        if "AnnotationIn" in self.schemas:
            self.anchors |= {f"{component_name(name)}Data": f"type-{name}" for name in TYPES}
            self.anchors["AnnotationIn"] = "annotation-types"

    # --- operations ---

    def groups(self) -> list[Group]:
        found: dict[str, list[OperationTold]] = {}
        items: Json = self.content["paths"] | self.components.get("pathItems", {})
        for path, item in items.items():
            for method, operation in item.items():
                found.setdefault(operation["tags"][0], []).append(self._operation(method, path, operation))
        return [Group(tag["name"], tag["description"], found[tag["name"]]) for tag in self.content["tags"]]

    def _operation(self, method: str, path: str, operation: Json) -> OperationTold:
        taken: Json = operation.get("requestBody", {}).get("content", {})
        media: Json = next(iter(taken.values()), {})
        return OperationTold(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            description=operation.get("description", ""),
            who=operation["x-who"],
            parameters=[self._parameter(one) for one in operation["parameters"]],
            body_kind=" or ".join(taken),
            body=self.rows(media["schema"]) if "schema" in media else [],
            example=pretty(media["example"]) if "example" in media else "",
            answers=[
                self._answer(status, one)
                for status, one in operation["responses"].items()
                if status != str(InternalError.status)  # of all of them, so it is said once
            ],
        )

    def _parameter(self, parameter: Json) -> Row:
        one = self.resolve(parameter)
        row = self._row(one["name"], one["schema"], one["required"])
        return Row(row.name, row.kind, row.target, row.required, one.get("description", row.says), one["in"])

    def _answer(self, status: str, response: Json) -> Told:
        one = self.resolve(response)
        headers = tuple(name for name in one.get("headers", {}) if name != EVERYWHERE)
        content: Json = one.get("content", {})
        media: Json = next(iter(content.values()), {})
        schema: Json = media.get("schema", {})
        if status == "default":
            return Told("else", one["description"])
        if status >= "4":
            told = schema.get("anyOf", [schema])
            codes = tuple(self.resolve(each)["properties"]["code"]["const"] for each in told)
            return Told(status, "", codes=codes, headers=headers)
        kind = self.kind(schema) if schema else " or ".join(content)
        return Told(status, one["description"], kind, self._target(schema), headers=headers)

    def proofs(self) -> list[Named]:
        """How to say who is asking: each header or cookie, as it is sent."""
        return [
            Named("Authorization", one["description"], "header")
            if one["type"] == "http"
            else Named(one["name"], one["description"], one["in"])
            for one in self.components["securitySchemes"].values()
        ]

    def signing(self) -> list[Named]:
        """The headers that go with a signature."""
        told: Json = self.components["parameters"]
        return [Named(name, told[name]["description"]) for name in parameters() if name in told]

    def headers(self) -> list[Named]:
        """The headers of answers."""
        return [Named(name, one["description"]) for name, one in self.components["headers"].items()]

    def errors(self) -> list[ErrorTold]:
        """The errors that this document's operations answer with, and that of a method an address does not take."""
        told = []
        for error in ALL:
            schema = self.schemas.get(schema_name(error))
            if schema or error is MethodNotAllowed:
                extra = EXTRAS.get(error.code, ())
                told.append(ErrorTold(error.status, error.code, error.title, tuple(extra)))
        return sorted(told, key=lambda one: one.status)

    # --- shapes ---

    def shapes(self) -> list[Shape]:
        """What answers are made of, by name."""
        return [
            Shape(anchor, name, [self.rows(self.schemas[name])])
            for name, anchor in sorted(self.anchors.items())
            if anchor.startswith("shape-")
        ]

    def item(self) -> list[Row]:
        """What every annotation of a bulk request may have beside its type and its data."""
        properties = self.schemas["CustomIn"]["properties"]
        return [self._row(name, properties[name], False) for name in SENT]

    def types(self) -> list[Shape]:
        """The annotation types, each with every form of `data` that is accepted; the canonical ones first."""
        told = []
        for name, one in {**TYPES, **ALIASES}.items():
            item = self.schemas[f"{component_name(name)}In"]
            data = self.schemas[f"{component_name(name)}DataIn"]
            forms = [self.rows(form) for form in data.get("anyOf", [data])]
            told.append(Shape(f"type-{name}", name, forms, pretty(item["examples"][0]), one.title))
        return told

    def rows(self, schema: Json) -> list[Row]:
        """The fields of an object, those that must be there first."""
        form = self.resolve(schema)
        required = form.get("required", [])
        told = [self._row(name, one, name in required) for name, one in form.get("properties", {}).items()]
        return sorted(told, key=lambda row: not row.required)

    def _row(self, name: str, schema: Json, required: bool) -> Row:
        says = schema.get("description", "")
        if "default" in schema:
            says = f"{says} Default: `{json.dumps(schema['default'])}`.".strip()
        return Row(name, self.kind(schema), self._target(schema), required, says)

    # --- words ---

    def kind(self, schema: Json) -> str:
        """`text, 1 to 255 characters`, `list of Image`, `completed | failed`."""
        if "$ref" in schema:
            return str(schema["$ref"].rpartition("/")[2])
        if "anyOf" in schema:
            return " or ".join(self.kind(one) for one in schema["anyOf"])
        if "enum" in schema:
            return " | ".join("null" if one is None else str(one) for one in schema["enum"])
        if "const" in schema:
            return str(schema["const"])
        kinds = schema.get("type", "any JSON value")
        words = [self._word(kind, schema) for kind in (kinds if isinstance(kinds, list) else [kinds])]
        return " or ".join(words)

    def _word(self, kind: str, schema: Json) -> str:
        if kind == "array":
            count = _between(schema, "minItems", "maxItems")
            return f"list of {count} {self.kind(schema['items'])}".replace("  ", " ")
        if kind in ("integer", "number"):
            return ", ".join(filter(None, (WORDS[kind], _between(schema, "minimum", "maximum"))))
        if kind == "string" and "format" in schema:
            return FORMATS[schema["format"]]
        if kind == "string" and "maxLength" in schema:
            return f"text, {_between(schema, 'minLength', 'maxLength')} characters"
        return WORDS.get(kind, kind)

    def _target(self, schema: Json) -> str:
        while schema.get("type") == "array" and "items" in schema:
            schema = schema["items"]
        return self.anchors.get(schema.get("$ref", "").rpartition("/")[2], "")

    def resolve(self, schema: Json) -> Json:
        """What a reference leads to."""
        while "$ref" in schema:
            _, section, name = schema["$ref"].removeprefix("#/").split("/")
            schema = self.components[section][name]
        return schema

    def _reached(self) -> set[str]:
        """The schemas that good answers are made of, and that of a problem; those of `data` are told by type."""
        waiting = ["Problem"]
        for item in self.content["paths"].values():
            for operation in item.values():
                good = [one for status, one in operation["responses"].items() if status < "4"]
                waiting += references(good)
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in found and not name.endswith("Data"):
                found.add(name)
                waiting += references(self.schemas[name])
        return found


def _between(schema: Json, low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least == most:
        return "" if least is None else f"{least:,}"
    if least is None:
        return f"up to {most:,}"
    return f"from {least:,}" if most is None else f"{least:,} to {most:,}"


def references(value: Any) -> Iterator[str]:
    """The names of the schemas a part of the document refers to."""
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str) and target.startswith("#/components/schemas/"):
            yield target.rpartition("/")[2]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
