"""Claims and leases on the wire."""

from datetime import datetime
from typing import Any

from marshmallow import fields, validate

from app.models import Analysis, Image
from app.schemas.analyses import AnalysisOut, analysis_out
from app.schemas.base import Noted, Schema, StrictInteger, Text, moment

LONGEST_LEASE = 86_400  # seconds
MOST_AT_ONCE = 100


class Claim(Schema):
    worker_id = Text(
        required=True,
        metadata={"description": "Names the worker: one process has one, and no other the same."},
    )
    lease_seconds = StrictInteger(
        1,
        LONGEST_LEASE,
        allow_none=True,
        load_default=None,
        metadata={"description": "How long it holds without a heartbeat; `ML_LEASE_SECONDS` if left out."},
    )


class ClaimNext(Claim):
    models = fields.List(
        Text(),
        allow_none=True,
        load_default=None,
        validate=validate.Length(1, 100),
        metadata={"description": "Only analyses of these models."},
    )
    max = StrictInteger(
        1,
        MOST_AT_ONCE,
        allow_none=True,
        load_default=None,
        metadata={"description": "How many at the most; 1 if left out."},
    )


class Heartbeat(Schema):
    """Nothing needs to be said."""


class ClaimedImageOut(Schema):
    """The image of a claimed analysis, with a signed address of its bytes."""

    id = fields.UUID(required=True)
    width = fields.Integer(required=True)
    height = fields.Integer(required=True)
    content_type = fields.String(required=True)
    sha256 = fields.String(required=True)
    download_url = fields.URL(required=True, require_tld=False)


class ClaimedAnalysisOut(AnalysisOut):
    lease_token = fields.String(
        required=True,
        metadata={"description": "Send it in `X-ML-Lease-Token` with everything that is written."},
    )
    lease_expires_at = fields.DateTime(required=True)
    image = fields.Nested(ClaimedImageOut, required=True)


class ClaimedOut(ClaimedAnalysisOut, Noted):
    """An analysis that this worker holds."""


class ClaimedAnalysesOut(Noted):
    analyses = fields.List(fields.Nested(ClaimedAnalysisOut), required=True)


class HeartbeatOut(Noted):
    lease_expires_at = fields.DateTime(required=True)
    cancel_requested = fields.Boolean(
        required=True, metadata={"description": "The analysis was canceled: stop working on it."}
    )


def claimed_out(analysis: Analysis, token: str) -> dict[str, Any]:
    """All but the address of the image's bytes."""
    image: Image = analysis.image
    return analysis_out(analysis) | {
        "lease_token": token,
        "lease_expires_at": moment(analysis.lease_expires_at),
        "image": {
            "id": str(image.id),
            "width": image.width,
            "height": image.height,
            "content_type": image.content_type,
            "sha256": image.sha256,
        },
    }


def heartbeat_out(ends: datetime, canceled: bool) -> dict[str, Any]:
    return {"lease_expires_at": moment(ends), "cancel_requested": canceled}
