"""Pages of annotations: so many rows, and not too much data."""

from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from app.exports.reading import PAGE, PAGE_WEIGHT, annotations_of
from app.extensions import db
from app.models import Analysis, Annotation
from app.models.columns import new_id

LIGHT, HEAVY, HUGE = 10, PAGE_WEIGHT // 4 - 1000, PAGE_WEIGHT + 10

PAGES = [
    ([], []),
    ([LIGHT] * PAGE, [PAGE]),
    ([LIGHT] * (PAGE + 1), [PAGE, 1]),
    ([HEAVY] * 9, [4, 4, 1]),
    ([HUGE, HUGE, LIGHT], [1, 1, 1]),
    ([LIGHT, HUGE, LIGHT, LIGHT], [1, 1, 2]),
]


@pytest.mark.parametrize(("weights", "sizes"), PAGES, ids=lambda value: str(len(value)))
def test_pages(app: Flask, analysis: Analysis, weights: list[int], sizes: list[int]) -> None:
    plain = {"annotation_type": "custom", "content_hash": "0" * 64, "created_at": datetime.now(UTC)}
    rows: list[dict[str, Any]] = [
        # with gaps, as removals leave them
        {
            **plain,
            "id": new_id(),
            "analysis_id": analysis.id,
            "client_id": f"c{n}",
            "position": 3 * n,
            "data": {"text": "x" * weight},
        }
        for n, weight in enumerate(weights)
    ]
    with app.app_context():
        if rows:
            db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
        pages = list(annotations_of(analysis.id))
    assert [row.position for page in pages for row in page] == [3 * n for n in range(len(weights))]
    assert [len(page) for page in pages] == sizes
