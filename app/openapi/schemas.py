"""Marshmallow schemas as JSON Schema: apispec's converter, and what our own fields say of themselves."""

from copy import deepcopy
from typing import Any

import marshmallow
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter

Json = dict[str, Any]


class Converter(OpenAPIConverter):
    """A field's `json_form` goes over what its base class says; what only Marshmallow knows is left out."""

    def field2property(self, field: marshmallow.fields.Field[Any]) -> Json:
        form: Json = super().field2property(field)
        form = {key: value for key, value in form.items() if not key.startswith("x-m")}
        if form.get("default", ...) is None:
            del form["default"]  # null is the same as leaving it out
        if form.get("format") == "url":
            form["format"] = "uri"  # as JSON Schema calls it
        if "enum" in form:
            form.setdefault("type", ["string", "null"] if field.allow_none else "string")
        if "pattern" in form and not form["pattern"].startswith("^"):
            form["pattern"] = "^" + form["pattern"].removesuffix(r"\Z") + "$"
        if hasattr(field, "json_form"):
            form |= self._own(field)
        return form

    def _own(self, field: Any) -> Json:
        own: Json = _copied_but_schemas(field.json_form())
        items = own.get("items")
        if isinstance(items, marshmallow.Schema):
            own["items"] = self.object_of(items)
        return nullable(own) if field.allow_none else own

    def object_of(self, schema: type[marshmallow.Schema] | marshmallow.Schema) -> Json:
        """The JSON Schema of an object with any further keys."""
        form: Json = self.schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        form.pop("additionalProperties", None)
        return form


class Plugin(MarshmallowPlugin):
    Converter = Converter


def name_of(schema: type[marshmallow.Schema] | marshmallow.Schema) -> str:
    """The component's name: the class's, and what is answered goes without its `Out`."""
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Out")


def _copied_but_schemas(form: Json) -> Json:
    """A deep copy, but for the Marshmallow schemas in it, which stay the same objects."""
    return {
        key: value if isinstance(value, marshmallow.Schema) else deepcopy(value)
        for key, value in form.items()
    }


def nullable(form: Json) -> Json:
    """The same, or null."""
    if "type" not in form:
        return {"anyOf": [*form["anyOf"], {"type": "null"}]}
    kinds = form["type"] if isinstance(form["type"], list) else [form["type"]]
    values = {"enum": [*form["enum"], None]} if "enum" in form else {}
    return form | {"type": [*kinds, "null"]} | values


def without_null(form: Any) -> Any:
    """The same, but null is never there: what a query cannot say, and what canonical data leaves out."""
    if isinstance(form, list):
        return [without_null(one) for one in form if one != {"type": "null"} and one is not None]
    if not isinstance(form, dict):
        return form
    out = {key: without_null(value) for key, value in form.items()}
    if isinstance(kinds := out.get("type"), list):
        kept = [kind for kind in kinds if kind != "null"]
        out["type"] = kept[0] if len(kept) == 1 else kept
    if len(choices := out.get("anyOf") or []) == 1:
        del out["anyOf"]
        out |= choices[0]
    return out
