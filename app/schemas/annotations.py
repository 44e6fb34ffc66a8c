"""Annotations on the wire: a bulk request in, annotations and its receipt out."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from marshmallow import ValidationError, fields, validate

from app.annotations import ALIASES, TYPES
from app.annotations.fields import Lean
from app.errors import InvalidPayload, TooManyAnnotations
from app.geometry import Frame
from app.models import Annotation
from app.models.artifacts import FILENAME
from app.schemas.base import MAX_ERRORS, Noted, Schema, StrictInteger, Text, flatten, moment

MODES = ("append", "replace", "upsert")
CLIENT_ID = r"[A-Za-z0-9._:-]{1,128}"


class Confidence(Lean[float], fields.Float):
    """A JSON number from 0 to 1, kept to four places."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> float:
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValidationError("Must be a number from 0 to 1.")
        return round(float(value), 4)

    def json_form(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "maximum": 1}


class Word(Lean[str], fields.String):
    """A text that its validators say all about."""


class AnnotationIn(Schema):
    """What every annotation has; `data` is then validated by its type."""

    annotation_type = Word(required=True, validate=validate.OneOf([*TYPES, *ALIASES]))
    class_name = Text(allow_none=True, load_default=None)
    confidence = Confidence(allow_none=True, load_default=None)
    data = fields.Raw(load_default=dict)
    storage_path = Word(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "The artifact that belongs to it: `ml_outputs/{this analysis}/{file name}`."
        },
    )
    ordering = StrictInteger(allow_none=True, load_default=None)
    client_id = Word(
        allow_none=True,
        load_default=None,
        validate=validate.Regexp(CLIENT_ID + r"\Z", error="1 to 128 of A-Z a-z 0-9 . _ : -"),
    )


class BulkIn(Schema):
    """A bulk request, for the document: `load_bulk` reads the envelope by hand, as it may hold ten thousand items."""

    annotations = fields.List(fields.Nested(AnnotationIn), required=True)
    mode = fields.String(
        allow_none=True,
        load_default="append",
        validate=validate.OneOf(MODES),
        metadata={
            "description": "What happens to held annotations: kept, replaced by this set, or updated by id."
        },
    )


class AnnotationOut(Schema):
    """What `annotation_out` gives."""

    id = fields.UUID(required=True)
    analysis_id = fields.UUID(required=True)
    annotation_type = fields.String(required=True, validate=validate.OneOf(list(TYPES)))
    class_name = fields.String(required=True, allow_none=True)
    confidence = Confidence(required=True, allow_none=True)
    data = fields.Dict(required=True, metadata={"description": "In the canonical form of its type."})
    storage_path = fields.String(required=True, allow_none=True)
    ordering = fields.Integer(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    client_id = fields.String(required=True)


class AnnotationsPageOut(Noted):
    annotations = fields.List(fields.Nested(AnnotationOut), required=True)
    total = fields.Integer(required=True, metadata={"description": "How many match, on all pages."})
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Send it as `cursor`; null on the last page."},
    )


class ReceiptEntryOut(Schema):
    id = fields.UUID(required=True)
    client_id = fields.String(required=True)
    index = fields.Integer(required=True, metadata={"description": "Its place in the request, from 0."})


class ScaledOut(Schema):
    index = fields.Integer(required=True)
    from_ = fields.List(
        fields.Integer(), required=True, data_key="from", metadata={"minItems": 2, "maxItems": 2}
    )
    to = fields.List(fields.Integer(), required=True, metadata={"minItems": 2, "maxItems": 2})


class ReceiptOut(Noted):
    """What `receipt_out` gives."""

    inserted = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    removed = fields.Integer(required=True)
    total = fields.Integer(
        required=True, metadata={"description": "What the analysis holds after the request."}
    )
    annotations = fields.List(fields.Nested(ReceiptEntryOut), required=True)
    scaled = fields.List(
        fields.Nested(ScaledOut),
        metadata={
            "description": "Items that came in another frame, `[width, height]` each (the first hundred)."
        },
    )


@dataclass(frozen=True)
class Item:
    """One annotation in canonical form, ready to be stored: `values` are the columns of its row."""

    index: int
    client_id: str
    content_hash: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Bulk:
    """A whole request in canonical form. `scaled` says which items came in another frame than the image's."""

    items: Sequence[Item]
    mode: str
    ignored: list[str] = field(default_factory=list)
    scaled: list[dict[str, Any]] = field(default_factory=list)


_ITEM = AnnotationIn()


def load_bulk(raw: Any, *, analysis_id: UUID, frame: Frame, batch: str, at_most: int) -> Bulk:
    """Validates every item, each by its type. Raises InvalidPayload naming the first hundred faults.

    Raises TooManyAnnotations. `batch` names the items that carry no `client_id`; `frame` is the image's size in pixels.
    """
    sent, mode, ignored = _envelope(raw)
    if len(sent) > at_most:
        raise TooManyAnnotations(
            f"At most {at_most} annotations in one request, not {len(sent)}.", limit=at_most
        )
    loader = _Loader(analysis_id, frame, batch)
    for index, item in enumerate(sent):
        loader.load(index, item)
    if loader.errors:
        raise InvalidPayload(
            f"{loader.faulty} of {len(sent)} annotations are not valid.", errors=loader.errors
        )
    _refuse_twice(loader.items)
    return Bulk(
        loader.items, mode, (ignored + sorted(loader.ignored))[:MAX_ERRORS], loader.scaled[:MAX_ERRORS]
    )


def _envelope(raw: Any) -> tuple[list[Any], str, list[str]]:
    if not isinstance(raw, dict):
        raise InvalidPayload(errors=[{"field": "", "reason": "Must be an object."}])
    sent, mode = raw.get("annotations"), raw.get("mode")
    errors = []
    if not isinstance(sent, list):
        errors.append({"field": "annotations", "reason": "Must be a list."})
    if mode is not None and mode not in MODES:
        errors.append({"field": "mode", "reason": "Must be one of: " + ", ".join(MODES) + "."})
    if errors:
        raise InvalidPayload(errors=errors)
    return sent or [], mode or "append", sorted(raw.keys() - {"annotations", "mode"})


class _Loader:
    """Gathers the items, the faults and the notes of one request."""

    def __init__(self, analysis_id: UUID, frame: Frame, batch: str) -> None:
        self.frame, self.batch = frame, batch
        self.own_path = re.compile(rf"ml_outputs/{analysis_id}/{FILENAME}")
        self.items: list[Item] = []
        self.errors: list[dict[str, Any]] = []
        self.faulty = 0
        self.ignored: set[str] = set()
        self.scaled: list[dict[str, Any]] = []

    def load(self, index: int, sent: Any) -> None:
        try:
            self.items.append(self._item(index, sent))
        except ValidationError as fault:
            self.faulty += 1
            room = MAX_ERRORS - len(self.errors)
            self.errors += [{"index": index, **entry} for entry in flatten(fault.messages)][:room]

    def _item(self, index: int, sent: Any) -> Item:
        values: dict[str, Any] = _ITEM.load(sent)
        if len(sent) > len(values) or sent.keys() - values.keys():
            self.ignored |= {f"annotations.{name}" for name in sent.keys() - values.keys()}
        data, kind, path = values.pop("data"), values["annotation_type"], values["storage_path"]
        if path is not None and not self.own_path.fullmatch(path):
            raise ValidationError({"storage_path": ["Must be ml_outputs/{this analysis}/{file name}."]})
        annotation_type = TYPES.get(kind) or ALIASES[kind]
        values["annotation_type"] = annotation_type.name
        try:
            loaded = annotation_type.load({} if data is None else data, self.frame, path)
        except ValidationError as fault:
            raise ValidationError(_under_data(fault.messages)) from None
        if loaded.scaled_from is not None:
            self.scaled.append({"index": index, "from": [*loaded.scaled_from], "to": [*self.frame]})
        client_id = values.pop("client_id") or f"{self.batch}#{index}"
        values["data"] = loaded.data
        digest = hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()
        bounds = loaded.bounds
        x_min, y_min, x_max, y_max = (
            (bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max) if bounds else [None] * 4
        )
        values |= {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}
        return Item(index, client_id, digest, values)


def _under_data(messages: Any) -> dict[str, Any]:
    """The paths of a type's faults from the item down; what it says of the artifact stands beside `data`."""
    flat = messages if isinstance(messages, dict) else {"": messages}
    return {
        name if name == "storage_path" else f"data.{name}".rstrip("."): text for name, text in flat.items()
    }


def _refuse_twice(items: Sequence[Item]) -> None:
    first: dict[str, int] = {}
    errors = []
    for item in items:
        if item.client_id in first:
            reason = f"The same client_id as item {first[item.client_id]}."
            errors.append({"index": item.index, "field": "client_id", "reason": reason})
        first.setdefault(item.client_id, item.index)
    if errors:
        raise InvalidPayload("A client_id stands twice in this request.", errors=errors[:MAX_ERRORS])


def annotation_out(row: Annotation | Any) -> dict[str, Any]:
    """Every field of the contract; `row` is an Annotation or a row of its columns."""
    return {
        "id": str(row.id),
        "analysis_id": str(row.analysis_id),
        "annotation_type": row.annotation_type,
        "class_name": row.class_name,
        "confidence": row.confidence,
        "data": row.data,
        "storage_path": row.storage_path,
        "ordering": row.ordering,
        "created_at": moment(row.created_at),
        "client_id": row.client_id,
    }


def receipt_out(
    counts: Mapping[str, int], ids: Mapping[str, UUID], bulk: Bulk, ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """The answer to a bulk request; its size depends on this request only. `ignored` are parameters of the query."""
    named = [
        {"id": str(ids[item.client_id]), "client_id": item.client_id, "index": item.index}
        for item in bulk.items
    ]
    answer: dict[str, Any] = {**counts, "annotations": named}
    if bulk.scaled:
        answer["scaled"] = bulk.scaled
    if noted := [*ignored, *bulk.ignored]:
        answer["ignored"] = noted[:MAX_ERRORS]
    return answer
