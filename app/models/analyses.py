"""Analyses and their state machine: one run of one model on one image."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.errors import IllegalTransition
from app.extensions import Base
from app.models.columns import Json, PrimaryKey, Short, Time, now, partial
from app.models.images import Image


class Status(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PROCESSING, Status.CANCELED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}
FINALIZE_TRANSITIONS = TRANSITIONS | {
    Status.QUEUED: TRANSITIONS[Status.QUEUED] | {Status.COMPLETED, Status.FAILED},
}


IN_GROUP = "group_row_id IS NOT NULL"
THERE = "deleted_at IS NULL"


class Analysis(Base):
    __tablename__ = "ml_analyses"
    __table_args__ = (
        Index("idx_ml_analyses_image_id", "image_id"),
        Index("idx_ml_analyses_model_name", "model_name"),
        Index("idx_ml_analyses_status", "status"),
        # the order in which exports read all analyses, those of a model and those in a status
        Index("ix_ml_analyses_created_at_id", "created_at", "id"),
        Index("ix_ml_analyses_model_name_created_at_id", "model_name", "created_at", "id"),
        Index("ix_ml_analyses_status_created_at_id", "status", "created_at", "id"),
        # of the few that are: one of all would be taken to find those that are not
        partial("ix_ml_analyses_deleted_at", "deleted_at", where="deleted_at IS NOT NULL"),
        # a group: all of it, what is in a status, with all that is asked when a group is counted, and of a model in one
        partial(
            "ix_ml_analyses_group_row_id_created_at_id", "group_row_id", "created_at", "id", where=IN_GROUP
        ),
        partial(
            "ix_ml_analyses_group_counts",
            *("group_row_id", "status", "created_at", "id", "deleted_at", "image_id", "annotation_count"),
            where=IN_GROUP,
        ),
        partial(
            "ix_ml_analyses_group_model",
            *("group_row_id", "model_name", "status", "created_at", "id"),
            where=f"{IN_GROUP} AND {THERE}",
        ),
        # a project: its analyses in the order of time, in a status or of a model in one; any status is a merge of all
        partial("ix_ml_analyses_of_project", "project_id", "status", "created_at", "id", where=THERE),
        partial(
            "ix_ml_analyses_of_project_model",
            *("project_id", "model_name", "status", "created_at", "id"),
            where=THERE,
        ),
        # the images that have one of those, in the order of the gallery
        partial("ix_ml_analyses_images", "project_id", "status", "image_created_at", "image_id", where=THERE),
        partial(
            "ix_ml_analyses_images_model",
            *("project_id", "model_name", "status", "image_created_at", "image_id"),
            where=THERE,
        ),
        # these are of few, and cost the others nothing
        *(
            partial(f"ix_ml_analyses_{name}", name, where=f"{name} IS NOT NULL")
            for name in ("retry_of_id", "pipeline_key_id", "lease_expires_at", "claim_hash")
        ),
        # of the few that a process of an earlier release created, and of those it created in a group
        partial("ix_ml_analyses_without_project", "id", where="project_id IS NULL"),
        partial(
            "ix_ml_analyses_without_group_row", "id", where="group_id IS NOT NULL AND group_row_id IS NULL"
        ),
    )

    id: Mapped[PrimaryKey]
    image_id: Mapped[UUID] = mapped_column(ForeignKey("data_instances.id", ondelete="CASCADE"))
    model_name: Mapped[Short]
    model_version: Mapped[Short]
    status: Mapped[str] = mapped_column(String(16), default=Status.QUEUED)
    error_message: Mapped[str | None] = mapped_column(Text)
    parameters: Mapped[dict[str, Any] | None] = mapped_column(Json)
    provenance: Mapped[dict[str, Any] | None] = mapped_column(Json)
    requested_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    external_job_id: Mapped[Short | None] = mapped_column(unique=True)
    priority: Mapped[int] = mapped_column(default=0)
    group_id: Mapped[Short | None]
    created_at: Mapped[Time] = mapped_column(default=now)
    started_at: Mapped[Time | None]
    completed_at: Mapped[Time | None]
    updated_at: Mapped[Time] = mapped_column(default=now)
    # kept under the row's lock, so that no answer ever has to count the annotations
    annotation_count: Mapped[int] = mapped_column(default=0)
    next_position: Mapped[int] = mapped_column(default=0)
    # rises with every change of the row or of what hangs on it: the version a page or a cached layer shows
    revision: Mapped[int] = mapped_column(default=1)

    # of the image, which never changes them; lists of a project are read along them (decision 17). A process of an
    # earlier release leaves them empty, and `placing` fills them
    project_id: Mapped[UUID | None]
    image_created_at: Mapped[Time | None]
    # the row of the group of this `group_id` in the image's project; no image ever changes its project
    group_row_id: Mapped[UUID | None]
    deleted_at: Mapped[Time | None]
    # an attempt that failed by its lease is followed by another analysis; the first one is attempt 1
    attempt: Mapped[int] = mapped_column(default=1, server_default="1")
    retry_of_id: Mapped[UUID | None]
    # keys are revoked, never deleted
    pipeline_key_id: Mapped[str | None] = mapped_column(String(64))
    # rises with every claim and with the end of a lease, so that a worker of an earlier epoch can write nothing
    lease_epoch: Mapped[int] = mapped_column(default=0, server_default="0")
    lease_owner: Mapped[Short | None]
    lease_expires_at: Mapped[Time | None]
    # how long the worker asked for, and so what each of its heartbeats adds
    lease_seconds: Mapped[int | None]
    # of the request that claimed it: the same request again gets the same lease
    claim_hash: Mapped[str | None] = mapped_column(String(64))

    image: Mapped[Image] = relationship()

    @property
    def state(self) -> Status:
        return Status(self.status)

    @property
    def is_leased(self) -> bool:
        """Whether it is a worker's, also after the time of the lease until somebody ends the analysis."""
        return self.lease_expires_at is not None and not self.state.is_terminal

    def touch(self) -> None:
        self.updated_at = now()
        self.revision += 1

    def move_to(self, status: Status, *, finalizing: bool = False) -> bool:
        """Changes the status and its times; the caller holds the row's lock. False if there was nothing to do.

        Raises IllegalTransition with `current` and `allowed`.
        """
        if status == self.state:
            return False
        allowed = (FINALIZE_TRANSITIONS if finalizing else TRANSITIONS)[self.state]
        if status not in allowed:
            raise IllegalTransition(
                f"The analysis is {self.status}; it cannot become {status}.",
                current=self.status,
                allowed=sorted(allowed),
            )
        moment = now()
        if status is Status.PROCESSING or (finalizing and self.started_at is None):
            self.started_at = moment
        if status.is_terminal:
            self.completed_at = moment
        self.status = status.value
        self.touch()
        return True


def place_of(image: Image) -> dict[str, Any]:
    """The columns that an analysis has of its image."""
    return {"project_id": image.project_id, "image_created_at": image.created_at}


# of an analysis joined with its image: neither was deleted
LIVE = (Analysis.deleted_at.is_(None), Image.deleted_at.is_(None))
# the same of an analysis that is joined with nothing: the index of the few images that were deleted is asked for each
_GONE = select(Image.id).where(Image.id == Analysis.image_id, Image.deleted_at.is_not(None))
LIVE_ALONE = (Analysis.deleted_at.is_(None), _GONE.correlate(Analysis).scalar_subquery().is_(None))
# the queue, in the order in which it is claimed
Index("ix_ml_analyses_queue", Analysis.status, Analysis.priority.desc(), Analysis.created_at, Analysis.id)
