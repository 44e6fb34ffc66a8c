"""The annotation types as components: canonical data, the data that is accepted, and an item of a request."""

from typing import Any

from app.annotations import ALIASES, TYPES, AnnotationType
from app.openapi.schemas import Converter, Json, without_null
from app.schemas.annotations import AnnotationIn, AnnotationOut

SENT = ("class_name", "confidence", "storage_path", "ordering", "client_id")
EXTRA = "Further keys are kept here."


def components(converter: Converter) -> Json:
    """By name: `BoundingBoxData`, `BoundingBoxDataIn`, `BoundingBoxIn` …, then `AnnotationIn` and `Annotation`."""
    out: Json = {}
    for one in TYPES.values():
        out[f"{component_name(one.name)}Data"] = _canonical(one, converter)
    for name, one in {**TYPES, **ALIASES}.items():
        out[f"{component_name(name)}DataIn"] = _accepted(name, one, converter)
        out[f"{component_name(name)}In"] = _item(name, one, converter)
    return out | {"AnnotationIn": _any_item(), "Annotation": _answered(converter)}


def component_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _canonical(one: AnnotationType, converter: Converter) -> Json:
    """As it is stored and answered: no null, no `normalized`, and what else was sent under `extra`."""
    found = []
    for form in one.forms or (one.Payload,):
        shape = without_null(converter.object_of(form))
        shape["properties"].pop("normalized", None)
        _keep_extra(shape["properties"])
        found.append(shape)
    return {"title": one.title, "examples": [one.example], **_either(found)}


def _keep_extra(properties: Json) -> None:
    """Where some keys are known, the others are kept beside them: in the data, and in each entry of its lists."""
    for form in properties.values():
        _keep_extra(form.get("items", {}).get("properties", {}))
    if properties:
        properties["extra"] = {"type": "object", "description": EXTRA}


def _accepted(name: str, one: AnnotationType, converter: Converter) -> Json:
    """The canonical form, or an alias that is made canonical. Rules that span keys are told by the server only."""
    title = one.title if name == one.name else f"{one.title}, as `{name}`"
    found = [converter.object_of(form) for form in (*(one.forms or (one.Payload,)), *one.aliases)]
    return {"title": title, "examples": [one.example], **_either(found)}


def _either(found: list[Json]) -> Json:
    return found[0] if len(found) == 1 else {"anyOf": found}


def _item(name: str, one: AnnotationType, converter: Converter) -> Json:
    """An annotation of this type in a bulk request."""
    common = converter.object_of(AnnotationIn)["properties"]
    sent = {key: common[key] for key in SENT}
    required = ["annotation_type"]
    if not _loads_empty(name, one):
        required.append("data")
    if one.needs_storage_path(one.example):
        required.append("storage_path")
        sent["storage_path"] = without_null(sent["storage_path"])
    kind = {"type": "string", "const": name}
    data = reference(f"{component_name(name)}DataIn")
    return {
        "title": one.title,
        "type": "object",
        "properties": {"annotation_type": kind, "data": data, **sent},
        "required": required,
        "examples": [example(name)],
    }


def _loads_empty(name: str, one: AnnotationType) -> bool:
    """Whether `data` may be left out: no form of it has a key that must be there."""
    forms = (*(one.forms or (one.Payload,)), *one.aliases)
    return any(not any(field.required for field in form().fields.values()) for form in forms)


def _any_item() -> Json:
    names = [*TYPES, *ALIASES]
    mapping = {name: reference(f"{component_name(name)}In")["$ref"] for name in names}
    return {
        "oneOf": [reference(f"{component_name(name)}In") for name in names],
        "discriminator": {"propertyName": "annotation_type", "mapping": mapping},
    }


def _answered(converter: Converter) -> Json:
    """An annotation as it is answered: `data` is by type."""
    by_type = [
        {
            "properties": {
                "annotation_type": {"const": name},
                "data": reference(f"{component_name(name)}Data"),
            }
        }
        for name in TYPES
    ]
    return {**converter.object_of(AnnotationOut), "oneOf": by_type}


def example(name: str) -> dict[str, Any]:
    """An item of a bulk request that the server takes, but for the artifact a bitmap type names."""
    one = TYPES.get(name) or ALIASES[name]
    item: dict[str, Any] = {
        "annotation_type": name,
        "class_name": "leaf",
        "confidence": 0.93,
        "data": one.example,
    }
    if one.needs_storage_path(one.example):
        item["storage_path"] = "ml_outputs/01900000-0000-7000-8000-000000000000/heatmap.png"
    return item
