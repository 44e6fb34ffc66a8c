"""Groups on the wire: what is in one, and what canceling it did or would do."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from marshmallow import fields

from app.models import Group
from app.models.groups import Counts
from app.schemas.base import Noted, Schema, moment


class CountsOut(Schema):
    """How many analyses are in each status, 0 where there is none."""

    queued = fields.Integer(required=True)
    processing = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    canceled = fields.Integer(required=True)


class GroupOut(Noted):
    """What `group_out` gives."""

    group_id = fields.String(required=True)
    project_id = fields.UUID(required=True)
    counts = fields.Nested(CountsOut, required=True)
    total = fields.Integer(required=True)
    done = fields.Boolean(required=True, metadata={"description": "Whether all of it is terminal."})
    annotation_count = fields.Integer(required=True)
    first_created_at = fields.DateTime(required=True, allow_none=True)
    last_created_at = fields.DateTime(required=True, allow_none=True)
    analyses_url = fields.URL(
        require_tld=False,
        required=True,
        metadata={"description": "Where the analyses of the group are listed."},
    )


class GroupsOut(Noted):
    groups = fields.List(fields.Nested(GroupOut), required=True)
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Send it as `cursor`; null on the last page."},
    )


class GroupCanceledOut(Noted):
    """What `canceled_out` gives."""

    group_id = fields.String(required=True)
    dry_run = fields.Boolean(required=True)
    canceled = fields.Integer(
        required=True, metadata={"description": "How many were canceled, or would be with one request."}
    )
    leased = fields.Integer(
        required=True,
        metadata={"description": "How many of these a worker holds, which is told with its next heartbeat."},
    )
    ids = fields.List(
        fields.UUID(),
        required=True,
        metadata={"description": "Those that were canceled; of those that would be, the first 100."},
    )
    remaining = fields.Integer(
        required=True,
        metadata={
            "description": "How many have not ended, or would not have: one request cancels 5,000 at the most, and "
            "fewer where that takes longer than 15 seconds. Ask again until it is 0."
        },
    )
    counts = fields.Nested(CountsOut, required=True, metadata={"description": "What is in the group now."})


def group_out(group: Group, counts: Counts, analyses_url: str) -> dict[str, Any]:
    return {
        "group_id": group.group_id,
        "project_id": str(group.project_id),
        "counts": counts_out(counts),
        "total": counts.total,
        "done": counts.is_done,
        "annotation_count": counts.annotations,
        "first_created_at": moment(counts.first_created_at),
        "last_created_at": moment(counts.last_created_at),
        "analyses_url": analyses_url,
    }


def counts_out(counts: Counts) -> dict[str, int]:
    return {status.value: number for status, number in counts.by_status.items()}


def canceled_out(
    group_id: str, counts: Counts, *, dry_run: bool, number: int, leased: int, ids: Sequence[UUID]
) -> dict[str, Any]:
    return {
        "group_id": group_id,
        "dry_run": dry_run,
        "canceled": number,
        "leased": leased,
        "ids": [str(one) for one in ids],
        "remaining": counts.pending - (number if dry_run else 0),
        "counts": counts_out(counts),
    }
