"""Projects and images on the wire."""

from typing import Any

from marshmallow import fields, validate

from app.models import Image, Project, Role
from app.schemas.base import Deleted, Noted, Schema, Text, moment


class CreateProject(Schema):
    name = Text(required=True)
    description = Text(10_000, shortest=0, several_lines=True, load_default="", allow_none=True)


class ProjectOut(Schema):
    """What `project_out` gives."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    created_at = fields.DateTime(required=True)
    role = fields.String(
        required=True,
        validate=validate.OneOf([role.value for role in Role]),
        metadata={"description": "What you are in it."},
    )
    image_count = fields.Integer(required=True)


class ProjectWrittenOut(ProjectOut, Noted):
    """A project that was made."""


class UploadImage(Schema):
    """The form of an upload, for the document: the route reads it part by part."""

    file = fields.Raw(
        required=True,
        metadata={"type": "string", "format": "binary", "description": "One JPEG, PNG, WebP or TIFF."},
    )
    metadata = fields.String(metadata={"description": "A JSON object of at most 64 KiB, as text."})


class ImageOut(Schema):
    """What `image_out` gives."""

    id = fields.UUID(required=True)
    project_id = fields.UUID(required=True)
    filename = fields.String(required=True)
    content_type = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    sha256 = fields.String(required=True, validate=validate.Regexp(r"[0-9a-f]{64}\Z"))
    width = fields.Integer(required=True)
    height = fields.Integer(required=True)
    metadata = fields.Dict(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)


class ImageWrittenOut(ImageOut, Noted):
    """An image that was uploaded."""


class ImageDeletedOut(ImageOut, Deleted):
    """An image that was deleted."""


class ImageDownloadOut(Schema):
    url = fields.URL(required=True)
    object_key = fields.String(required=True)
    expires_at = fields.DateTime(required=True)


def project_out(project: Project, role: Role, image_count: int) -> dict[str, Any]:
    return {
        "id": str(project.id),
        "name": project.name,
        "description": project.description,
        "created_at": moment(project.created_at),
        "role": role.value,
        "image_count": image_count,
    }


def image_out(image: Image | Any) -> dict[str, Any]:
    """`image` is an Image or a row of its attributes."""
    return {
        "id": str(image.id),
        "project_id": str(image.project_id),
        "filename": image.filename,
        "content_type": image.content_type,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "width": image.width,
        "height": image.height,
        "metadata": image.details,
        "created_at": moment(image.created_at),
    }
