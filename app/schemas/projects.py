"""Projects and images on the wire."""

from typing import Any

from app.models import Image, Project, Role
from app.schemas.base import Schema, Text, moment


class CreateProject(Schema):
    name = Text(required=True)
    description = Text(10_000, shortest=0, several_lines=True, load_default="", allow_none=True)


def project_out(project: Project, role: Role, image_count: int) -> dict[str, Any]:
    return {
        "id": str(project.id),
        "name": project.name,
        "description": project.description,
        "created_at": moment(project.created_at),
        "role": role.value,
        "image_count": image_count,
    }


def image_out(image: Image) -> dict[str, Any]:
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
