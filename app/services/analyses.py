"""Analyses: made once, moved through their states, listed."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app.errors import Conflict, Deleted, LimitReached, ModelNotAllowed
from app.extensions import db
from app.models import Analysis, Image, Principal, Status, User
from app.models.analyses import LIVE, place_of
from app.models.columns import new_id, now
from app.services import artifacts, audit, groups, leases, states
from app.services.locking import lock, lock_all, write

IDENTITY = ("model_name", "model_version", "parameters", "provenance", "priority", "group_id")


def create(
    image: Image,
    wanted: Mapping[str, Any],
    *,
    by: Principal,
    limit: int,
    pending_limit: int = 0,
    models: Sequence[str],
    status: Status,
    analysis_id: UUID | None = None,
) -> tuple[Analysis, bool]:
    """A new analysis and True, or the one this `external_job_id` already made and False.

    `limit` is how many an image can have, `pending_limit` how many that have not ended a person can have asked for (0:
    any number); `analysis_id` is that of a new one where files were put there beforehand. Raises Conflict (the id made
    another one), Deleted (the one it made was deleted), ModelNotAllowed, LimitReached. The image's row is locked first,
    so that simultaneous requests can neither pass the limit together nor make the same job twice.
    """
    lock(image)
    made = _made_before(image, wanted)
    if made:
        return made, False
    if "*" not in models and wanted["model_name"] not in models:
        raise ModelNotAllowed(f"The model {wanted['model_name']} is not on the list of allowed models.")
    refuse_more(image, limit)
    if pending_limit and by.user:
        refuse_more_pending(by.user, pending_limit)
    moment = now()
    analysis = Analysis(
        id=analysis_id or new_id(),
        image_id=image.id,
        status=status.value,
        requested_by_id=by.user.id if by.user else None,
        pipeline_key_id=by.key.id if by.key else None,
        external_job_id=wanted.get("external_job_id"),
        created_at=moment,
        updated_at=moment,
        started_at=moment if status is Status.PROCESSING else None,
        annotation_count=0,
        group_row_id=groups.row_id(image.project_id, wanted.get("group_id")),
        **place_of(image),
        **{name: wanted.get(name) for name in IDENTITY},
    )
    try:
        with db.session.begin_nested():
            db.session.add(analysis)
    except IntegrityError:  # the same job on another image, whose row is another lock
        made = _made_before(image, wanted)
        if made is None:
            raise
        return made, False
    states.made(analysis, by=by)
    return analysis, True


def refuse_more(image: Image, limit: int) -> None:
    """Raises LimitReached when the image has so many analyses. The caller holds the image's row."""
    if count_of_image(image) >= limit:
        raise LimitReached(f"An image can have {limit} analyses at the most.", limit=limit)


def refuse_more_pending(user: User, limit: int) -> None:
    """Raises LimitReached when so many that the person asked for have not ended. Holds the person's row."""
    lock(user, referred_to=True)  # on another image the same person waits here too
    pending = [status.value for status in Status if not status.is_terminal]
    theirs = (Analysis.requested_by_id == user.id, Analysis.status.in_(pending), *LIVE)
    count = db.session.scalar(select(func.count()).select_from(Analysis).join(Image).where(*theirs)) or 0
    if count >= limit:
        raise LimitReached(f"A person can have {limit} analyses under way at the most.", limit=limit)


def made_by(job: str) -> Analysis | None:
    """The analysis that this `external_job_id` made, also if it was deleted."""
    made: Analysis | None = db.session.scalar(select(Analysis).where(Analysis.external_job_id == job))
    return made


def _made_before(image: Image, wanted: Mapping[str, Any]) -> Analysis | None:
    job = wanted.get("external_job_id")
    made = made_by(job) if job is not None else None
    if made is None:
        return None
    differing = [name for name in IDENTITY if not _same_json(getattr(made, name), wanted.get(name))]
    if made.image_id != image.id:
        differing.insert(0, "image_id")
    if differing:
        raise Conflict("This external_job_id made another analysis.", differing=differing)
    if made.deleted_at is not None:
        raise Deleted("The analysis that this external_job_id made has been deleted.")
    return made


def _same_json(one: Any, other: Any) -> bool:
    """JSON knows no difference between 1 and 1.0, but one between 1 and true. Python sees it the other way round."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_json, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def set_status(
    analysis: Analysis,
    status: Status,
    error_message: str | None = None,
    found: Mapping[str, artifacts.Found] | None = None,
    *,
    by: Principal,
    proof: leases.Proof,
) -> Analysis:
    """Raises IllegalTransition, and LeaseLost but for a person who cancels. The same status again changes nothing.

    `found` is what the storage holds of the artifacts; a terminal status writes it down, and asks for nothing.
    """
    lock(analysis)
    if by.kind != "user" or status is not Status.CANCELED:
        leases.require(analysis, proof)
    write(_set(analysis, status, error_message, found, by=by))
    return analysis


def _set(
    analysis: Analysis,
    status: Status,
    error_message: str | None = None,
    found: Mapping[str, artifacts.Found] | None = None,
    *,
    by: Principal,
) -> Analysis:
    before = analysis.status
    if analysis.move_to(status):
        if analysis.state.is_terminal:
            artifacts.write_down(analysis, found or {})
        states.changed(analysis, before, error_message, by=by)
    return analysis


def cancel(
    analysis: Analysis, found: Mapping[str, artifacts.Found] | None = None, *, by: Principal
) -> Analysis:
    """Whoever may cancel needs no lease: its worker is told with the next heartbeat. Raises IllegalTransition."""
    lock(analysis)
    return _set(analysis, Status.CANCELED, found=found, by=by)


def cancel_all(
    analysis_ids: Sequence[UUID], found: Mapping[str, artifacts.Found], *, by: Principal
) -> list[Analysis]:
    """The same for many at once: those of them that it canceled. What has ended or was deleted stays as it is."""
    held = [analysis for analysis in lock_all(analysis_ids) if not analysis.state.is_terminal]
    lying: dict[UUID | None, dict[str, artifacts.Found]] = {}
    for path, thing in found.items():
        lying.setdefault(artifacts.analysis_of(path), {})[path] = thing
    with audit.together():
        return [_set(analysis, Status.CANCELED, found=lying.get(analysis.id), by=by) for analysis in held]


def finalize(
    analysis: Analysis,
    status: Status,
    error_message: str | None,
    expected_annotations: int | None,
    found: Mapping[str, artifacts.Found] | None,
    *,
    by: Principal,
    proof: leases.Proof,
) -> Analysis:
    """Ends the analysis; `found` is what the storage holds of its artifacts, looked up beforehand, or None where it was
    seen to have none under the same lock.

    Raises LeaseLost, IllegalTransition, or Conflict when the count is another or a referenced artifact is not there.
    """
    lock(analysis)
    leases.require(analysis, proof)
    before = analysis.status
    if analysis.state == status:
        return analysis
    analysis.move_to(status, finalizing=True)
    if expected_annotations is not None and expected_annotations != analysis.annotation_count:
        raise Conflict(
            f"The analysis holds {analysis.annotation_count} annotations, not {expected_annotations}.",
            expected=expected_annotations,
            actual=analysis.annotation_count,
        )
    if found is not None:
        artifacts.refuse_missing(analysis, found)
        artifacts.write_down(analysis, found)
    states.changed(analysis, before, error_message, by=by)
    write(analysis)
    return analysis


def of_image(image: Image, *, skip: int = 0, limit: int | None = None) -> Sequence[Analysis]:
    """Newest first."""
    statement = select(Analysis).where(Analysis.image_id == image.id, Analysis.deleted_at.is_(None))
    ordered = statement.order_by(Analysis.created_at.desc(), Analysis.id.desc())
    return db.session.scalars(ordered.offset(skip).limit(limit)).all()


def count_of_image(image: Image) -> int:
    live = (Analysis.image_id == image.id, Analysis.deleted_at.is_(None))
    return db.session.scalar(select(func.count()).where(*live)) or 0


def is_deleted(image: Image, analysis_id: UUID) -> bool:
    """Whether the image had this analysis and can have it again."""
    one = (Analysis.id == analysis_id, Analysis.image_id == image.id, Analysis.deleted_at.is_not(None))
    return db.session.scalar(select(Analysis.id).where(*one)) is not None


def models_in_use(*, limit: int) -> Sequence[str]:
    """The models of all projects, by name; the first `limit`."""
    statement = select(Analysis.model_name).join(Image).where(*LIVE)
    statement = statement.distinct().order_by(Analysis.model_name)
    return db.session.scalars(statement.limit(limit)).all()
