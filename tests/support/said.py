"""Annotations as an export reads them, made without a database."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from app.annotations import TYPES
from app.geometry import Frame

ANALYSIS = UUID("01900000-0000-7000-8000-0000000000aa")
MOMENT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def said(kind: str, data: dict[str, Any], frame: Frame, number: int = 1, **columns: Any) -> Any:
    """The columns of an annotation that a pipeline sent for an image of this frame."""
    path = columns.get("storage_path")
    loaded = TYPES[kind].load(data, frame, path)
    row: dict[str, Any] = {
        "id": str(UUID(int=ANALYSIS.int + number)),
        "analysis_id": str(ANALYSIS),
        "annotation_type": kind,
        "class_name": "leaf",
        "confidence": 0.5,
        "data": loaded.data,
        "storage_path": path,
        "ordering": None,
        "created_at": MOMENT.isoformat(),
        "client_id": f"c{number}",
        "position": number,
    }
    return SimpleNamespace(**row | columns)
