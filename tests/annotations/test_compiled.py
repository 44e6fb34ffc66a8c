"""The compiled way of loading gives what the schema gives, values and refusals alike."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate, validates_schema

from app.annotations import ALIASES, TYPES
from app.annotations.compiled import compiled
from app.annotations.fields import Entries, Name, Real, known_keys
from app.schemas.annotations import AnnotationIn

EXAMPLES: list[Any] = [
    *(one.example for one in TYPES.values()),
    *({"annotation_type": name, "data": one.example} for name, one in TYPES.items()),
    {"left": 1, "top": 2, "right": 3, "bottom": 4},
    {"x": 1, "y": 2, "width": 3, "height": 4, "normalized": False},
    {"bbox": [1, 2, 3, 4], "format": "cxcywh", "image_width": 10, "image_height": 20.0},
    {"scores": {"lynx": 0.25, "cat": 1}},
    {"format": "png"},
    {"format": "polygon", "polygons": [[0, 0, 9, 0, 9, 9]]},
    {"client_id": "box-1", "class_name": "Éclair", "confidence": 0.12345, "ordering": 3, "storage_path": "x"},
]


def schemas() -> dict[str, Schema]:
    """Every schema that annotations pass through, those of entries in lists too."""
    kinds = [*TYPES.values(), *ALIASES.values()]
    found = {one for kind in kinds for one in (kind.Payload, *kind.forms, *kind.aliases)}
    outer = [AnnotationIn(), *(one() for one in sorted(found, key=lambda one: one.__name__))]
    inner = [field.schema for one in outer for field in one.fields.values() if isinstance(field, Entries)]
    return {type(one).__name__: one for one in [*outer, *inner]}


SCHEMAS = schemas()
KEYS = sorted({key for one in SCHEMAS.values() for key in known_keys(one)} | {"extra", "more", ""})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["rle", "png", "xyxy", "bounding_box", "a" * 300, "\u202e", 10**400, b"x"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
)


@st.composite
def payloads(draw: st.DrawFn) -> Any:
    """An example with some of its keys gone, others there, and other values."""
    payload = dict(draw(st.sampled_from(EXAMPLES)))
    for key in draw(st.lists(st.sampled_from(sorted(payload)), max_size=2)):
        payload.pop(key, None)
    return payload | draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))


def outcome(load: Any, payload: Any) -> Any:
    try:
        return "loaded", repr(load(payload))  # in which 1 and 1.0 and the order of the keys differ
    except ValidationError as refused:
        return "refused", refused.messages


@pytest.mark.parametrize("name", SCHEMAS)
@settings(deadline=None)
@given(payload=payloads() | VALUES)
def test_it_gives_what_the_schema_gives(name: str, payload: Any) -> None:
    schema = SCHEMAS[name]
    wanted = outcome(lambda sent: schema.load(sent, unknown=EXCLUDE), payload)
    assert outcome(compiled(schema), payload) == wanted


def test_every_schema_has_an_example_that_it_loads() -> None:
    for schema in SCHEMAS.values():
        entries = [
            entry for one in EXAMPLES for value in one.values() if isinstance(value, list) for entry in value
        ]
        assert any(outcome(compiled(schema), one)[0] == "loaded" for one in [*EXAMPLES, *entries])


def test_names_and_defaults_are_those_of_the_schema() -> None:
    class Odd(Schema):
        one = Real(data_key="1", attribute="uno")
        many = fields.List(fields.Integer(), load_default=list)
        left_out = Name(allow_none=True)
        none = Name(load_default=None)

    for payload in ({}, {"1": 2, "left_out": None}, {"one": 2}, {"1": None}, {"none": None, "many": ["7"]}):
        assert outcome(compiled(Odd()), payload) == outcome(
            lambda sent: Odd().load(sent, unknown=EXCLUDE), payload
        )
    load = compiled(Odd())
    assert load({})["many"] is not load({})["many"]


class _Hooked(Schema):
    @post_load
    def change(self, values: Any, **_: Any) -> Any:
        return values


class _Checked(Schema):
    @validates_schema
    def check(self, values: Any, **_: Any) -> None:
        raise ValidationError("never")


class _Prepared(Schema):
    one = fields.Integer(pre_load=[abs])


class _Loads(Schema):
    def load(self, *arguments: Any, **named: Any) -> Any:
        return super().load(*arguments, **named)


class _Deserializes(Schema):
    def _deserialize(self, *arguments: Any, **named: Any) -> Any:
        return super()._deserialize(*arguments, **named)


class _Own(fields.Integer):
    def deserialize(self, *_: Any, **__: Any) -> int:
        return 7


class _Even(fields.Integer):
    def _validate(self, value: int) -> None:
        if value % 2:
            raise ValidationError("odd")


class _Never(fields.Integer):
    @property
    def _validate_all(self) -> Any:
        return validate.OneOf(())


@pytest.mark.parametrize(
    "schema",
    [
        _Hooked(),
        _Checked(),
        _Prepared(),
        _Loads(),
        _Deserializes(),
        *(Schema.from_dict({"one": kind()})() for kind in (_Own, _Even, _Never)),
        AnnotationIn(partial=True),
        AnnotationIn(many=True),
    ],
)
def test_what_does_more_than_load_its_fields_is_not_compiled(schema: Schema) -> None:
    with pytest.raises(TypeError, match="does more than to"):
        compiled(schema)
