"""Receipts on the wire: the answer to a bulk request, and those that an analysis keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from marshmallow import fields

from app.models import Receipt
from app.schemas.annotations import Bulk
from app.schemas.base import MAX_ERRORS, Noted, Schema, moment
from app.schemas.notes import Json, NormalisedOut, Placed, SkippedOut

NOTES_BYTES = 4096  # what a receipt keeps of its notes, as JSON
LENGTHS = (20, 10, 5, 2, 1)


class ReceiptEntryOut(Placed):
    id = fields.UUID(required=True)
    client_id = fields.String(required=True)


class ScaledOut(Placed):
    from_ = fields.List(
        fields.Integer(), required=True, data_key="from", metadata={"minItems": 2, "maxItems": 2}
    )
    to = fields.List(fields.Integer(), required=True, metadata={"minItems": 2, "maxItems": 2})


class SaidOut(Schema):
    what = fields.String(required=True)
    count = fields.Integer(required=True, metadata={"description": "Of how many things this is true."})
    places = fields.List(
        fields.String(), required=True, metadata={"description": "Where the first of them stand in the file."}
    )


class ExtraOut(Schema):
    key = fields.String(required=True)
    count = fields.Integer(required=True)


class FileOut(Schema):
    """What an import says of its file besides the annotations."""

    format = fields.String(required=True)
    annotations = fields.Integer(
        required=True, metadata={"description": "How many the file has for this image, valid or not."}
    )
    left_out = fields.List(
        fields.Nested(SaidOut),
        metadata={"description": "What is no annotation of this image, and why (the first reasons)."},
    )
    left_out_count = fields.Integer(metadata={"description": "How many reasons there are in all."})
    told = fields.List(
        fields.Nested(SaidOut),
        metadata={"description": "What is good to know of what was taken (the first of it)."},
    )
    told_count = fields.Integer(metadata={"description": "How many different things these are in all."})
    extra = fields.List(
        fields.Nested(ExtraOut),
        metadata={
            "description": "Keys that have no place of their own and are kept in `data.extra` (the first ones)."
        },
    )
    extra_count = fields.Integer(metadata={"description": "How many keys these are in all."})


class CountsOut(Noted):
    """What the answer and a kept receipt both tell. What there is nothing to say of is not there."""

    inserted = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    removed = fields.Integer(required=True)
    total = fields.Integer(
        required=True, metadata={"description": "What the analysis holds after the request."}
    )
    scaled = fields.List(
        fields.Nested(ScaledOut),
        metadata={
            "description": "Items that came in another frame, `[width, height]` each (the first ones)."
        },
    )
    normalised = fields.List(
        fields.Nested(NormalisedOut),
        metadata={"description": "Items that are kept otherwise than they were sent (the first ones)."},
    )
    normalised_count = fields.Integer(metadata={"description": "How many these are in all."})
    skipped = fields.List(
        fields.Nested(SkippedOut),
        metadata={"description": "Items that are not valid and were left out (the first ones)."},
    )
    skipped_count = fields.Integer(metadata={"description": "How many these are in all."})
    file = fields.Nested(FileOut, metadata={"description": "Of an import: what else is in the file."})


class ReceiptOut(CountsOut):
    """What `receipt_out` gives."""

    annotations = fields.List(fields.Nested(ReceiptEntryOut), required=True)


class KeptReceiptOut(CountsOut):
    """What `kept_receipt_out` gives."""

    id = fields.UUID(required=True)
    created_at = fields.DateTime(required=True)
    actor = fields.String(required=True, metadata={"description": "Who sent the request."})
    request_id = fields.String(required=True, allow_none=True)
    batch = fields.String(
        required=True,
        metadata={"description": "Its `Idempotency-Key`, else the beginning of its body's SHA-256."},
    )
    mode = fields.String(required=True)


class KeptReceiptsOut(Noted):
    receipts = fields.List(fields.Nested(KeptReceiptOut), required=True)


def receipt_out(
    counts: Mapping[str, int], ids: Sequence[object], bulk: Bulk, ignored: Sequence[str] = ()
) -> Json:
    """The answer to a bulk request; its size depends on this request only.

    `ids` are those of the items, in their order; `ignored` are parameters of the query.
    """
    named: list[Json] = [
        {"id": str(id), "client_id": item.client_id, "index": item.index}
        for id, item in zip(ids, bulk.items, strict=True)
    ]
    if bulk.places is not None:
        for one in named:
            one["place"] = bulk.places[one["index"]]
    return {**counts, "annotations": named, **said_of(bulk, ignored)}


def said_of(bulk: Bulk, ignored: Sequence[str] = ()) -> Json:
    """What there is to say of a request besides its counts."""
    said = {
        "scaled": bulk.scaled,
        "normalised": bulk.normalised,
        "normalised_count": bulk.normalised_count,
        "skipped": bulk.skipped,
        "skipped_count": bulk.skipped_count,
        "ignored": [*ignored, *bulk.ignored][:MAX_ERRORS],
        "file": bulk.file,
    }
    return {name: value for name, value in said.items() if value}


def source_of(bulk: Bulk) -> Json:
    """Of a file, for the audit trail: its format, how much it had of the image, and how that was taken."""
    if bulk.file is None:
        return {}
    counts = {"normalised": bulk.normalised_count, "skipped": bulk.skipped_count}
    return {"format": bulk.file["format"], "in_file": bulk.file["annotations"], **counts}


def notes_to_keep(bulk: Bulk, ignored: Sequence[str] = ()) -> Json | None:
    """As much of it as fits into `NOTES_BYTES`, the same number of each list; the counts always."""
    said = said_of(bulk, [name.replace("\0", "\ufffd") for name in ignored])  # which no JSON column holds
    for length in (*LENGTHS, 0):
        shortened = _shortened(said, length)
        if len(orjson.dumps(shortened)) <= NOTES_BYTES:
            return shortened or None
    return None


def _shortened(said: Json, length: int) -> Json:
    """The same with at most `length` of each list, and none that is empty."""
    kept: Json = {}
    for name, value in said.items():
        if isinstance(value, dict):
            kept[name] = _shortened(value, length)
        elif not isinstance(value, list):
            kept[name] = value
        elif value[:length]:
            kept[name] = value[:length]
    return kept


def kept_receipt_out(row: Receipt | Any) -> Json:
    """`row` is a Receipt or a row of its columns."""
    return {
        "id": str(row.id),
        "created_at": moment(row.created_at),
        "actor": row.actor_label,
        "request_id": row.request_id,
        "batch": row.batch,
        "mode": row.mode,
        **row.counts,
        **(row.notes or {}),
    }
