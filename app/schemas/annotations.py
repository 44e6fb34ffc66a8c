"""Annotations on the wire: a bulk request in, annotations out."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from marshmallow import ValidationError, fields, validate

from app.annotations import ALIASES, TYPES, Loaded
from app.annotations.compiled import compiled
from app.annotations.fields import known_keys
from app.errors import InvalidPayload, TooManyAnnotations
from app.geometry import Frame
from app.models.artifacts import FILENAME
from app.schemas.base import MAX_ERRORS, Noted, Schema, StrictInteger, Text, flatten, load
from app.schemas.notes import notes_of, skipped_out

MODES = ("append", "replace", "upsert")
CLIENT_ID = r"[A-Za-z0-9._:-]{1,128}"


class Confidence(fields.Float):
    """A JSON number from 0 to 1, kept to four places."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> float:
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValidationError("Must be a number from 0 to 1.")
        return round(float(value), 4)

    def json_form(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "maximum": 1}


class Word(fields.String):
    """A text that its validators say all about: 1.8 -> 1.6 us for what every annotation has."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        return value if type(value) is str else super()._deserialize(value, attr, data, **more)


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


class OneByOne(fields.List[Any]):
    """A list whose items `load_bulk` loads, each by itself, as they may be ten thousand."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class BulkIn(Schema):
    annotations = OneByOne(fields.Nested(AnnotationIn), required=True)
    mode = fields.String(
        allow_none=True,
        load_default="append",
        validate=validate.OneOf(MODES),
        metadata={
            "description": "What happens to held annotations: kept, replaced by this set, or updated by id."
        },
    )


class AnnotationOut(Schema):
    """What `annotation_rows.on_the_wire` gives."""

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


@dataclass(slots=True)
class Item:
    """One annotation in canonical form, ready to be stored: `values` are the columns of its row.

    `data_text` is `values["data"]` as orjson writes it.
    """

    index: int
    client_id: str
    content_hash: str
    values: dict[str, Any]
    data_text: str


class Unread(NamedTuple):
    """Stands where no item could be made of a file's entry: what of the entry is at fault, and why."""

    field: str
    reason: str


@dataclass(frozen=True)
class Bulk:
    """A whole request in canonical form.

    `scaled` says which items came in another frame than the image's, `normalised` what is otherwise than it was sent,
    `skipped` which items are not among `items` and why: the first hundred of each. Where the items were read out of a
    file, `places` says where each stood, by its index, and `file` what there is to say of the rest of the file.
    """

    items: Sequence[Item]
    mode: str
    ignored: list[str]
    scaled: list[dict[str, Any]]
    normalised: list[dict[str, Any]]
    normalised_count: int
    skipped: list[dict[str, Any]]
    skipped_count: int
    places: Sequence[str] | None = None
    file: dict[str, Any] | None = None


_KNOWN = known_keys(AnnotationIn())
_NOWHERE = (None, None, None, None)
_load = compiled(AnnotationIn())


def load_bulk(
    raw: Any,
    *,
    analysis_id: UUID,
    frame: Frame,
    batch: str,
    at_most: int,
    skips: bool = False,
    names: Mapping[int, str] | None = None,
) -> Bulk:
    """Validates every item, each by its type. Raises InvalidPayload naming the first hundred faults.

    With `skips` those that are not valid are left out and named; but not if none is valid, nor in `replace`, whose set
    would lack what was held under their ids. Raises TooManyAnnotations. `batch` names the items that carry no
    `client_id`, but for those that have one in `names`, by their index; `frame` is the image's size in pixels.
    """
    envelope, ignored = load(BulkIn, raw)
    sent, mode = envelope["annotations"], envelope["mode"] or "append"
    if len(sent) > at_most:
        raise TooManyAnnotations(
            f"At most {at_most} annotations in one request, not {len(sent)}.", limit=at_most
        )
    loader = _Loader(analysis_id, frame, batch, names or {})
    for index, item in enumerate(sent):
        loader.load(index, item)
    if loader.faulty and not (skips and loader.items and mode != "replace"):
        errors = [{"index": index} | fault for index, faults in loader.faults for fault in faults]
        raise InvalidPayload(
            f"{loader.faulty} of {len(sent)} annotations are not valid.", errors=errors[:MAX_ERRORS]
        )
    return Bulk(
        items=loader.items,
        mode=mode,
        ignored=(ignored + sorted(loader.ignored))[:MAX_ERRORS],
        scaled=loader.scaled[:MAX_ERRORS],
        normalised=loader.normalised,
        normalised_count=loader.normalised_count,
        skipped=[skipped_out(index, faults) for index, faults in loader.faults],
        skipped_count=loader.faulty,
    )


class _Loader:
    """Gathers the items, the faults and the notes of one request."""

    def __init__(self, analysis_id: UUID, frame: Frame, batch: str, names: Mapping[int, str]) -> None:
        self.frame, self.batch, self.names = frame, batch, names
        self.own_path = re.compile(rf"ml_outputs/{analysis_id}/{FILENAME}")
        self.items: list[Item] = []
        self.faults: list[tuple[int, list[dict[str, str]]]] = []  # of the first hundred items that have some
        self.faulty = 0
        self.first: dict[str, int] = {}  # which item of the request a client_id belongs to
        self.ignored: set[str] = set()
        self.scaled: list[dict[str, Any]] = []
        self.normalised: list[dict[str, Any]] = []
        self.normalised_count = 0

    def load(self, index: int, sent: Any) -> None:
        try:
            self.items.append(self._item(index, sent))
        except ValidationError as fault:
            self._refuse(index, sent, fault)

    def _refuse(self, index: int, sent: Any, fault: ValidationError) -> None:
        self.faulty += 1
        if len(self.faults) < MAX_ERRORS:
            messages = {sent.field: [sent.reason]} if isinstance(sent, Unread) else fault.messages
            self.faults.append((index, list(flatten(messages))[:MAX_ERRORS]))
        name = sent.get("client_id") if isinstance(sent, dict) else None
        if isinstance(name, str):
            # it is this item's all the same: once it is mended, a later one would stand in its place
            self.first.setdefault(name, index)

    def _item(self, index: int, sent: Any) -> Item:
        values = _load(sent)
        if not _KNOWN.issuperset(sent):
            self.ignored |= {f"annotations.{name}" for name in sent.keys() - _KNOWN}
        data, kind, path = values.pop("data"), values["annotation_type"], values["storage_path"]
        if path is not None and not self.own_path.fullmatch(path):
            raise ValidationError({"storage_path": ["Must be ml_outputs/{this analysis}/{file name}."]})
        annotation_type = TYPES.get(kind) or ALIASES[kind]
        values["annotation_type"] = annotation_type.name
        try:
            loaded = annotation_type.load({} if data is None else data, self.frame, path)
        except ValidationError as fault:
            raise ValidationError(_under_data(fault.messages)) from None
        client_id = values.pop("client_id") or self.names.get(index) or f"{self.batch}#{index}"
        if (first := self.first.setdefault(client_id, index)) != index:
            raise ValidationError({"client_id": [f"The same client_id as item {first}."]})
        if (
            loaded.data != sent.get("data")
            or values["confidence"] != sent.get("confidence")
            or values["class_name"] != sent.get("class_name")
            or kind in ALIASES
        ):
            self._note(index, client_id, sent, values, loaded)
        values["data"] = loaded.data
        digest = hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()
        values["x_min"], values["y_min"], values["x_max"], values["y_max"] = loaded.bounds or _NOWHERE
        return Item(index, client_id, digest, values, orjson.dumps(loaded.data).decode())

    def _note(
        self, index: int, client_id: str, sent: dict[str, Any], values: dict[str, Any], loaded: Loaded
    ) -> None:
        """Says what was changed of an item; what came in another frame also by itself."""
        if loaded.scaled_from is not None:
            self.scaled.append({"index": index, "from": [*loaded.scaled_from], "to": [*self.frame]})
        if len(self.normalised) >= MAX_ERRORS:  # the others are counted only
            self.normalised_count += 1
        elif found := notes_of(sent, values, loaded, self.frame):
            self.normalised_count += 1
            self.normalised.append({"index": index, "client_id": client_id, "notes": found})


def _under_data(messages: Any) -> dict[str, Any]:
    """The paths of a type's faults from the item down; what it says of the artifact stands beside `data`."""
    flat = messages if isinstance(messages, dict) else {"": messages}
    return {
        name if name == "storage_path" else f"data.{name}".rstrip("."): text for name, text in flat.items()
    }
