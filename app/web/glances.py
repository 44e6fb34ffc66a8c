"""What the image page asks again and again, answered at a glance: one statement tells who may look and what there is.

What has no answer ready is left to the views, which ask everything in their own order. A poll is mostly answered in
polls.py already; `unchanged` is for what that lets pass.
"""

from uuid import UUID

from flask import Response, request

from app import access
from app.responses import asked_by_htmx
from app.services import glances
from app.web.versions import version_of

ASKED = (
    "loupe.glance"  # in the WSGI environment: polls.py has looked and has no answer; with the error, if any
)
_IMAGE = glances.statement(access.image_in_session())


def look(user_id: UUID, session_version: int, image_id: UUID) -> glances.Glance | None:
    """The image and its analyses, where the person of this session may look at it."""
    return glances.read(_IMAGE, user_id=user_id, session_version=session_version, image_id=image_id)


def unchanged(user_id: UUID, session_version: int, image_id: UUID) -> Response | None:
    """204 for htmx when the image has the version that the page shows."""
    if failed := request.environ.get(ASKED):
        raise failed
    if ASKED in request.environ or not asked_by_htmx():
        return None
    seen = look(user_id, session_version, image_id)
    if seen is None or request.args.get("version", "") != version_of(seen.analyses):
        return None
    return Response(status=204)
