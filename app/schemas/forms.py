"""What people's forms send: text, all of it. Errors are shown beside the form, so the messages are sentences."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_load, validate, validates_schema

from app.models import Role
from app.schemas.base import Schema, Text


def as_sent(form: Mapping[str, str]) -> dict[str, str]:
    """What was sent, to be shown in the form again: without characters that HTML cannot hold."""
    return {name: "".join(c for c in value if c.isprintable() or c == "\n") for name, value in form.items()}


class Form(Schema):
    """A submitted form: outer spaces are taken off, but for a password, and browsers' CRLF becomes LF."""

    @pre_load
    def _plain(self, sent: Any, **_: Any) -> dict[str, Any]:
        return {
            name: str(value) if name == "password" else str(value).replace("\r\n", "\n").strip()
            for name, value in dict(sent).items()
        }


class SignIn(Schema):
    """No rule about what a password or an address looks like: a wrong one is simply wrong."""

    email = fields.String(load_default="", validate=validate.Length(max=255))
    password = fields.String(load_default="", validate=validate.Length(max=1024))
    next = fields.String(load_default="")

    @post_load
    def _own_address(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Only a path of this server is followed after signing in."""
        wanted = values["next"]
        clean = (
            wanted.isprintable()
            and "\\" not in wanted
            and wanted.startswith("/")
            and not wanted.startswith("//")
        )
        return values | {"next": wanted if clean and len(wanted) <= 2048 else ""}


class NameForm(Form):
    name = Text(shortest=0, load_default="")


class NewKey(Form):
    """`key_id` is chosen when the form is drawn, so that a form that is sent again makes no second key."""

    key_id = fields.String(required=True, validate=validate.Regexp(r"[a-z2-7]{16}\Z"))


class KeyForm(NewKey):
    name = Text(required=True)


class PasswordForm(Schema):
    """Spaces belong to a password, so none are taken off."""

    current = fields.String(load_default="", validate=validate.Length(max=1024))
    password = fields.String(load_default="", validate=validate.Length(max=1024))
    again = fields.String(load_default="")

    @validates_schema
    def _same_twice(self, values: dict[str, Any], **_: Any) -> None:
        if values["password"] != values["again"]:
            raise ValidationError("This is not the same password.", "again")


class ProjectForm(Form):
    name = Text(required=True)
    description = Text(10_000, shortest=0, several_lines=True, load_default="")


class RoleField(fields.Field[Role]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Role:
        try:
            return Role(value)
        except ValueError:
            raise ValidationError("Choose viewer, editor or owner.") from None


class MemberForm(Form):
    email = Text(required=True)
    role = RoleField(load_default=Role.VIEWER)


class MemberRole(Form):
    role = RoleField(required=True)
