"""The query strings of lists: how many, from where, which, in what order."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.annotations import TYPES
from app.models import Status
from app.schemas.base import Schema, Text


class QueryInteger(fields.Integer):
    """Plain digits; a sign, a fraction, spaces or other scripts' digits are refused."""

    def __init__(self, low: int, high: int, **more: Any) -> None:
        super().__init__(validate=validate.Range(low, high), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16):
            raise ValidationError("Must be a whole number, 0 or more.")
        return super()._deserialize(value, attr, data, **more)


class Cursor(fields.Field[Any]):
    """An opaque place in a list, as `next_cursor` gave it: a pair of the row's sort value and its tie breaker."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> list[Any]:
        try:
            place = orjson.loads(base64.urlsafe_b64decode(str(value) + "=" * (-len(str(value)) % 4)))
        except (binascii.Error, ValueError):
            place = None
        plain = (
            isinstance(place, list) and len(place) == 2 and all(type(v) in (int, float, str) for v in place)
        )
        if not plain or any("\0" in v if isinstance(v, str) else abs(v) > 2**53 for v in place):
            raise ValidationError(NOT_A_CURSOR)
        return list(place)

    def json_form(self) -> dict[str, Any]:
        return {"type": "string", "description": "The `next_cursor` of the page before."}


class PlaceCursor(Cursor):
    """A place in a list that is read newest first: (created_at, id) of the row before it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        try:
            created_at, last_id = map(str, super()._deserialize(value, attr, data, **more))
            return datetime.fromisoformat(created_at).astimezone(UTC), UUID(last_id)
        except (ValueError, OverflowError):
            raise ValidationError(NOT_A_CURSOR) from None


def place_of(row: Any) -> str:
    """The cursor that leads on from this row, which has `created_at` and `id`."""
    return cursor([row.created_at.isoformat(), str(row.id)])


def cursor(place: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


NOT_A_CURSOR = "Not a cursor of this list."
MAX_SKIP = 2**31 - 1


class Page(Schema):
    skip = QueryInteger(0, MAX_SKIP, load_default=0)
    limit = QueryInteger(1, 500, load_default=100)


ANNOTATION_SORTS = ("confidence", "class_name", "ordering", "created_at", "area")


class AnnotationPage(Schema):
    skip = QueryInteger(0, MAX_SKIP, load_default=0)
    limit = QueryInteger(1, 1000, load_default=200)
    type = fields.String(load_default=None, validate=validate.OneOf(list(TYPES)))
    class_name = Text(load_default=None)
    min_confidence = fields.Float(load_default=None, allow_nan=False, validate=validate.Range(0, 1))
    sort = fields.String(
        load_default=None, validate=validate.OneOf([s + name for name in ANNOTATION_SORTS for s in ("", "-")])
    )
    cursor = Cursor(load_default=None)

    @post_load
    def _check_cursor(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        by_text = (values["sort"] or "").endswith("class_name")
        place = values["cursor"]
        if place and (isinstance(place[0], str) is not by_text or not isinstance(place[1], int)):
            raise ValidationError(NOT_A_CURSOR, "cursor")
        return values


class Moment(fields.AwareDateTime):
    """A time with its zone, in UTC; the first and last hours of the calendar have none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> datetime:
        try:
            return super()._deserialize(value, attr, data, **more).astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None


class ProjectAnalyses(Schema):
    status = fields.Enum(Status, by_value=True, load_default=None)
    model = Text(load_default=None)
    group_id = Text(load_default=None)
    created_after = Moment(format="iso", load_default=None)
    created_before = Moment(format="iso", load_default=None)
    cursor = PlaceCursor(load_default=None)
    limit = QueryInteger(1, 500, load_default=100)


class GroupsPage(Schema):
    cursor = PlaceCursor(load_default=None)
    limit = QueryInteger(1, 500, load_default=100)


class BundleQuery(Schema):
    images = fields.Boolean(
        load_default=False, metadata={"description": "`1` or `true`: the pictures come along."}
    )


class GroupQuery(Schema):
    group_id = Text(required=True)


class GroupBundleQuery(GroupQuery, BundleQuery):
    """Of a group, and whether the pictures come along."""


class CancelGroup(GroupQuery):
    dry_run = fields.Boolean(
        load_default=False,
        metadata={"description": "`1` or `true`: says what would be canceled, and cancels nothing."},
    )


# the names of exports.FORMATS, which stands above this; a test holds the two together
EXPORT_FORMATS = ("json", "ndjson", "csv", "coco", "coco-results", "yolo", "yolo-scores", "voc")


class ExportQuery(Schema):
    format = fields.String(load_default="json", validate=validate.OneOf(EXPORT_FORMATS))
    manifest = fields.Boolean(
        load_default=False,
        metadata={
            "description": "`1` or `true`: not the file, but as JSON what is in it and what its format cannot carry."
        },
    )


class ExportOfProject(ExportQuery):
    """Which analyses of the project, and how; what is left out is any. The days are those of UTC, both included."""

    status = fields.Enum(Status, by_value=True, load_default=None)
    model = Text(load_default=None)
    group_id = Text(load_default=None)
    created_from = fields.Date(load_default=None)
    created_to = fields.Date(load_default=None)
    annotations = fields.Boolean(
        load_default=True, metadata={"description": "`0` or `false`: the analyses without their annotations."}
    )

    @validates_schema
    def _in_order(self, values: dict[str, Any], **_: Any) -> None:
        first, last = values["created_from"], values["created_to"]
        if first and last and first > last:
            raise ValidationError("Must not be before created_from.", "created_to")


class ArtifactQuery(Schema):
    path = fields.String(
        required=True,
        validate=validate.Length(1, 512),
        metadata={"description": "A `storage_path`: `ml_outputs/{analysis_id}/{file name}`."},
    )


class BulkQuery(Schema):
    dry_run = fields.Boolean(
        load_default=False,
        metadata={
            "description": "`1` or `true`: checks everything and answers the same, but stores nothing."
        },
    )
    on_invalid = fields.String(
        load_default="refuse",
        validate=validate.OneOf(["refuse", "skip"]),
        metadata={
            "description": "`refuse`: one invalid item, and none is stored. `skip`: the valid ones are stored and the "
            "others named, unless none is valid or `mode` is `replace`."
        },
    )


class ReceiptsQuery(Schema):
    limit = QueryInteger(1, 20, load_default=20)
