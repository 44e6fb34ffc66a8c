"""Receipts: what the last bulk requests of an analysis brought, kept with it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.engine import Row

from app.extensions import db
from app.models import Analysis, Principal, Receipt

KEPT = 20


def record(
    by: Principal,
    analysis: Analysis,
    *,
    batch: str,
    mode: str,
    counts: Mapping[str, int],
    notes: dict[str, Any] | None,
) -> None:
    """Keeps a receipt and lets go of the oldest beyond `KEPT`. The caller holds the lock of the analysis."""
    newest = _newest_first(analysis.id, KEPT - 1, Receipt.id)
    old = delete(Receipt).where(Receipt.analysis_id == analysis.id, Receipt.id.not_in(newest))
    db.session.execute(old, execution_options={"synchronize_session": False})
    db.session.add(
        Receipt(
            analysis_id=analysis.id,
            actor_label=by.label,
            request_id=by.request_id,
            batch=batch,
            mode=mode,
            counts=dict(counts),
            notes=notes,
        )
    )


def of_analysis(analysis_id: UUID, limit: int = KEPT) -> Sequence[Row[Any]]:
    """The newest first, as rows of columns."""
    return db.session.execute(_newest_first(analysis_id, limit, *Receipt.__table__.columns)).all()


def _newest_first(analysis_id: UUID, limit: int, *columns: Any) -> Any:
    statement = select(*columns).where(Receipt.analysis_id == analysis_id)
    return statement.order_by(Receipt.created_at.desc(), Receipt.id.desc()).limit(limit)
