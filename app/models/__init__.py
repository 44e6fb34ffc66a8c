"""The tables. Importing this package registers every one of them."""

from app.models.analyses import Analysis, Status
from app.models.annotations import Annotation
from app.models.artifacts import Artifact
from app.models.audit import AuditEvent
from app.models.counts import ProjectCount
from app.models.exports import Export, ExportState
from app.models.groups import Group
from app.models.images import Image
from app.models.pipeline_keys import PipelineKey, UsedNonce
from app.models.principal import SYSTEM, Principal, ProvenKey
from app.models.projects import Membership, Project, Role
from app.models.receipts import Receipt
from app.models.sign_ins import SignInFailure
from app.models.turns import Turn
from app.models.users import User, UserKey
from app.models.webhooks import WebhookDelivery, WebhookTarget

__all__ = [
    "SYSTEM",
    "Analysis",
    "Annotation",
    "Artifact",
    "AuditEvent",
    "Export",
    "ExportState",
    "Group",
    "Image",
    "Membership",
    "PipelineKey",
    "Principal",
    "Project",
    "ProjectCount",
    "ProvenKey",
    "Receipt",
    "Role",
    "SignInFailure",
    "Status",
    "Turn",
    "UsedNonce",
    "User",
    "UserKey",
    "WebhookDelivery",
    "WebhookTarget",
]
