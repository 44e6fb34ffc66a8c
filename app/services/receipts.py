"""Receipts: what the last bulk requests of an analysis brought, kept with it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, insert, select
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
    columns = {
        "analysis_id": analysis.id,
        "actor_label": by.label,
        "request_id": by.request_id,
        "batch": batch,
        "mode": mode,
        "counts": dict(counts),
        "notes": notes,
    }
    # past the unit of work: no row is ever changed
    db.session.connection().execute(LET_GO, {"analysis_id": analysis.id})
    db.session.connection().execute(_INSERT, columns)


def of_analysis(analysis_id: UUID, limit: int = KEPT) -> Sequence[Row[Any]]:
    """The newest first, as rows of columns."""
    return db.session.execute(_newest_first(analysis_id, limit, *Receipt.__table__.columns)).all()


def _newest_first(analysis_id: Any, limit: int, *columns: Any) -> Any:
    statement = select(*columns).where(Receipt.analysis_id == analysis_id)
    return statement.order_by(Receipt.created_at.desc(), Receipt.id.desc()).limit(limit)


_TABLE = cast(Table, Receipt.__table__)
_INSERT = insert(_TABLE)
LET_GO = delete(_TABLE).where(
    _TABLE.c.analysis_id == bindparam("analysis_id"),
    _TABLE.c.id.not_in(_newest_first(bindparam("analysis_id"), KEPT - 1, _TABLE.c.id)),
)
