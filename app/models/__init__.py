"""The tables. Importing this package registers every one of them."""

from app.models.analyses import Analysis, Status
from app.models.annotations import Annotation
from app.models.artifacts import Artifact
from app.models.audit import AuditEvent
from app.models.images import Image
from app.models.principal import SYSTEM, Principal
from app.models.projects import Membership, Project, Role
from app.models.sign_ins import SignInFailure
from app.models.users import User, UserKey

__all__ = [
    "SYSTEM",
    "Analysis",
    "Annotation",
    "Artifact",
    "AuditEvent",
    "Image",
    "Membership",
    "Principal",
    "Project",
    "Role",
    "SignInFailure",
    "Status",
    "User",
    "UserKey",
]
