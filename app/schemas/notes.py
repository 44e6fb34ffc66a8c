"""What was normalised in the items of a bulk request, and which of them were skipped, on the wire."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from marshmallow import fields, validate

from app.annotations.base import Loaded
from app.annotations.notes import KINDS, Note, notes
from app.geometry import Frame
from app.schemas.base import Schema

NOTES_EACH = 20
LONGEST = 200  # of a field's name or a value that is repeated

Json = dict[str, Any]


class NoteOut(Schema):
    field = fields.String(required=True, metadata={"description": "Its path in the item, like `data.left`."})
    what = fields.String(
        required=True,
        validate=validate.OneOf(list(KINDS)),
        metadata={"description": "; ".join(f"`{kind}`: it {said}" for kind, said in KINDS.items()) + "."},
    )
    from_ = fields.Raw(data_key="from", metadata={"description": "What was sent, where that is short."})
    to = fields.Raw(metadata={"description": "What it is now."})


class Placed(Schema):
    """What names an item by its `index`; of an import also by where it stands in the file."""

    index = fields.Integer(required=True, metadata={"description": "Its place in the request, from 0."})
    place = fields.String(metadata={"description": "Where it stands in the imported file."})


class NormalisedOut(Placed):
    client_id = fields.String(required=True)
    notes = fields.List(
        fields.Nested(NoteOut),
        required=True,
        metadata={"description": f"The first {NOTES_EACH}.", "maxItems": NOTES_EACH},
    )


class ItemFaultOut(Schema):
    field = fields.String(required=True)
    reason = fields.String(required=True)


class SkippedOut(Placed):
    errors = fields.List(
        fields.Nested(ItemFaultOut),
        required=True,
        metadata={"description": f"The first {NOTES_EACH}.", "maxItems": NOTES_EACH},
    )


def notes_of(sent: Json, values: Json, loaded: Loaded, frame: Frame) -> list[Json]:
    """How the stored item differs from the one that was sent; `values` are its columns but for `data`."""
    found = islice(chain(_of_columns(sent, values), _of_data(sent.get("data"), loaded, frame)), NOTES_EACH)
    return [_note_out(note) for note in found]


def _of_columns(sent: Json, values: Json) -> Iterator[Note]:
    for name, kind in (("annotation_type", "alias"), ("class_name", "text"), ("confidence", "rounded")):
        if values[name] != sent.get(name):
            yield Note(name, kind, sent[name], values[name])


def _of_data(sent: Any, loaded: Loaded, frame: Frame) -> Iterator[Note]:
    if sent is None:
        yield Note("data", "filled", kept=loaded.data)
        return
    for note in notes(sent, loaded, frame):
        kept = f"data.{note.kept}" if note.kind == "extra" else note.kept
        yield note._replace(field=f"data.{note.field}" if note.field else "data", kept=kept)


def _note_out(note: Note) -> Json:
    out: Json = {"field": _short(note.field), "what": note.kind}
    if note.sent is not None:
        out["from"] = _short(note.sent)
    if note.kept is not None:
        out["to"] = _short(note.kept)
    return out


def skipped_out(index: int, faults: Sequence[Mapping[str, str]]) -> Json:
    errors = [{name: _short(text) for name, text in fault.items()} for fault in faults[:NOTES_EACH]]
    return {"index": index, "errors": errors}


def _short(value: Any) -> Any:
    return value[: LONGEST - 1] + "…" if isinstance(value, str) and len(value) > LONGEST else value
