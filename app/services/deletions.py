"""Deleting softly: the row stays with all that hangs on it and nobody meets it, until it is restored or purged.

What an analysis was doing it still does when it is restored: deleting leaves its state alone, and whoever writes to it
meanwhile is refused.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import contains_eager

from app.errors import Deleted
from app.extensions import db
from app.models import Analysis, Image, Principal, Project, User
from app.services import analyses, audit
from app.services.locking import lock

Clock = Callable[[], datetime]
DELETED = {Image: "image.deleted", Analysis: "analysis.deleted"}
RESTORED = {Image: "image.restored", Analysis: "analysis.restored"}
LISTED = 200  # of the images and of the analyses on one page


def delete(row: Image | Analysis, *, at: datetime, by: Principal) -> None:
    """What was deleted before stays deleted since then."""
    lock(row, deleted=True)
    if row.deleted_at is None:
        row.deleted_at = at
        _record(row, DELETED[type(row)], before=None, after=at, by=by)


def restore_image(image: Image, *, days: int, clock: Clock, by: Principal) -> None:
    """As it was. What was not deleted stays as it is.

    Raises Deleted unless it was deleted in the last `days` (0: at any time): what is older may be half purged already.
    """
    if _can_be_restored(image, days, clock):
        _restore(image, by)


def restore_analysis(
    analysis: Analysis, *, days: int, clock: Clock, limit: int, pending_limit: int, by: Principal
) -> None:
    """The same for an analysis. Raises LimitReached where it could not be created now, see `analyses.create`; what
    counts is who asked for it then.
    """
    lock(analysis.image, referred_to=True)  # as whoever creates one does; an attempt may be queued meanwhile
    if _can_be_restored(analysis, days, clock):
        analyses.refuse_more(analysis.image, limit)
        if pending_limit and analysis.requested_by_id and not analysis.state.is_terminal:
            analyses.refuse_more_pending(db.session.get_one(User, analysis.requested_by_id), pending_limit)
        _restore(analysis, by)


def _can_be_restored(row: Image | Analysis, days: int, clock: Clock) -> bool:
    """Whether it is deleted. The row is held from here on, and only then it counts what the time is: while another
    held it, its time may have come."""
    lock(row, deleted=True)
    if row.deleted_at is None:
        return False
    since = restorable_since(clock(), days)
    if since is not None and row.deleted_at <= since:
        raise Deleted("It was kept for a time after it was deleted, and that is over.")
    return True


def _restore(row: Image | Analysis, by: Principal) -> None:
    before, row.deleted_at = row.deleted_at, None
    _record(row, RESTORED[type(row)], before=before, after=None, by=by)


def restorable_since(moment: datetime, days: int) -> datetime | None:
    """What was deleted after this can be restored; None is anything."""
    return moment - timedelta(days=days) if days else None


def restorable_until(row: Image | Analysis, days: int) -> datetime | None:
    """The moment after which it may be purged; None is never, and for what is not deleted."""
    return row.deleted_at + timedelta(days=days) if row.deleted_at and days else None


def title_of(row: Image | Analysis) -> str:
    """How people know it."""
    return row.filename if isinstance(row, Image) else f"{row.model_name} {row.model_version}"


def images_of(project: Project, since: datetime | None) -> Sequence[Image]:
    """What can be restored, deleted last first."""
    statement = select(Image).where(Image.project_id == project.id, _deleted(Image, since))
    return db.session.scalars(statement.order_by(Image.deleted_at.desc(), Image.id).limit(LISTED)).all()


def analyses_of(project: Project, since: datetime | None) -> Sequence[Analysis]:
    """What can be restored, deleted last first, each with its image. Those of deleted images come back with these."""
    statement = select(Analysis).join(Analysis.image).options(contains_eager(Analysis.image))
    of_project = (Image.project_id == project.id, Image.deleted_at.is_(None))
    deleted = statement.where(*of_project, _deleted(Analysis, since))
    return db.session.scalars(deleted.order_by(Analysis.deleted_at.desc(), Analysis.id).limit(LISTED)).all()


def _deleted(kind: type[Image] | type[Analysis], since: datetime | None) -> ColumnElement[bool]:
    return kind.deleted_at.is_not(None) if since is None else kind.deleted_at > since


def _record(
    row: Image | Analysis, action: str, *, before: datetime | None, after: datetime | None, by: Principal
) -> None:
    image = row if isinstance(row, Image) else row.image
    audit.record(
        by,
        action,
        row,
        before={"deleted_at": before.isoformat() if before else None},
        after={"deleted_at": after.isoformat() if after else None},
        project_id=image.project_id,
    )
