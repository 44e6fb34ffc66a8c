"""What the forms of the admin pages send."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.models import Status
from app.schemas.base import Text
from app.schemas.forms import Form, NewKey


class UserForm(Form):
    """An empty password asks for one to be made."""

    email = Text(required=True)
    name = Text(shortest=0, load_default="")
    role = fields.String(load_default="user")
    password = fields.String(load_default="", validate=validate.Length(max=1024))


class RoleForm(Form):
    role = fields.String(required=True)


class StateForm(Form):
    state = fields.String(
        required=True, validate=validate.OneOf(["enabled", "disabled"], error="Choose enabled or disabled.")
    )


class VersionForm(Form):
    """The session version of the account as the page showed it."""

    version = fields.Integer(required=True, validate=validate.Range(0, 2**31 - 1))


class NewProjectForm(Form):
    name = Text(required=True)
    description = Text(10_000, shortest=0, several_lines=True, load_default="")
    owner = Text(required=True)


class AnyOr(fields.Field[Any]):
    """What `read` makes of the text, or None where it is empty, which means any."""

    def __init__(self, read: Callable[[str], Any], reason: str) -> None:
        super().__init__(load_default=None)
        self.read, self.reason = read, reason

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        try:
            return self.read(value) if value else None
        except ValueError:
            raise ValidationError(self.reason) from None


NO_DAY = "Write a day as 2026-03-31."


class ExportForm(Form):
    """Which analyses, and how: `what` is `annotations` or `analyses`, the days are UTC and both included, `columns` are
    names with spaces between them. Which formats and columns there are, the route knows.
    """

    project = AnyOr(UUID, "Choose a project.")
    group = Text(shortest=0, load_default="")
    model = Text(shortest=0, load_default="")
    status = AnyOr(Status, "Choose a status.")
    created_from = AnyOr(date.fromisoformat, NO_DAY)
    created_to = AnyOr(date.fromisoformat, NO_DAY)
    what = fields.String(load_default="annotations", validate=validate.OneOf(["annotations", "analyses"]))
    format = fields.String(load_default="json")
    columns = fields.String(load_default="", validate=validate.Length(max=10_000))

    @validates_schema
    def _in_order(self, values: dict[str, Any], **_: Any) -> None:
        first, last = values.get("created_from"), values.get("created_to")
        if first and last and first > last:
            raise ValidationError("The last day is before the first.", "created_to")

    @post_load
    def _whether_annotations(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        return values | {"annotations": values.pop("what") == "annotations"}


class NewExportForm(Form):
    """`export_id` is chosen when the form is drawn, so that a form that is sent again asks for nothing more."""

    export_id = fields.UUID(required=True)


class ProjectIds(fields.Field[list[UUID]]):
    """Ids with spaces or commas between them: what was ticked, and what was written."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> list[UUID]:
        try:
            return list(dict.fromkeys(UUID(text) for text in value.replace(",", " ").split()))
        except ValueError:
            raise ValidationError("Ids of projects look like 01900000-0000-7000-8000-000000000000.") from None


def end_of(day: str) -> datetime:
    """The last second of a day, in UTC."""
    return datetime.combine(date.fromisoformat(day), time(23, 59, 59), UTC)


class PipelineKeyForm(Form):
    name = Text(required=True)
    projects = ProjectIds(load_default=list)
    min_scheme = fields.String(load_default="v2")


class NewPipelineKeyForm(PipelineKeyForm, NewKey):
    """`expires_at` is the last day on which the key is valid, in UTC."""

    expires_at = AnyOr(end_of, NO_DAY)


OVERLAPS = {
    "0": timedelta(),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}


class RotationForm(NewKey):
    """How long the old key stays valid."""

    overlap = fields.String(
        required=True, validate=validate.OneOf(list(OVERLAPS), error="Choose one of these.")
    )
