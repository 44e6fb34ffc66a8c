"""Receipts are found and let go along their index, however many other analyses have."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from app.extensions import db
from app.models import SYSTEM, Analysis, Image, Receipt
from app.models.columns import new_id
from app.services import receipts
from tests.factories import World
from tests.support.plans import check_walks, plan_of, refresh_statistics

FIRST = datetime(2026, 7, 1, tzinfo=UTC)
INDEX = "ix_receipts_analysis_id_created_at"
COUNTS = {"inserted": 1, "unchanged": 0, "updated": 0, "removed": 0, "total": 1}


@pytest.fixture
def many(app: Flask, world: World, image: Image) -> list[Analysis]:
    """60 analyses with 20 receipts each."""
    analyses = [world.analysis(image) for _ in range(60)]
    rows = [
        {
            "id": new_id(),
            "analysis_id": analysis.id,
            "created_at": FIRST + timedelta(seconds=n),
            "actor_label": "pipeline",
            "batch": f"k{n}",
            "mode": "append",
            "counts": COUNTS,
        }
        for n in range(20)
        for analysis in analyses
    ]
    with app.app_context():
        db.session.execute(db.insert(Receipt), rows)
        db.session.commit()
    refresh_statistics(app)
    return analyses


def test_reading_walks_the_index(app: Flask, many: list[Analysis]) -> None:
    chosen = many[7].id
    check_walks(plan_of(app, lambda: receipts.of_analysis(chosen, 5)), "receipts", INDEX)
    with app.app_context():
        assert [row.batch for row in receipts.of_analysis(chosen, 3)] == ["k19", "k18", "k17"]


def test_the_oldest_of_this_analysis_goes(app: Flask, many: list[Analysis], world: World) -> None:
    chosen = many[7]

    def record() -> None:
        receipts.record(SYSTEM, chosen, batch="new", mode="append", counts=COUNTS, notes=None)

    with app.app_context():
        record()
        db.session.commit()
        kept = [row.batch for row in receipts.of_analysis(chosen.id, 100)]
    assert kept == ["new", *(f"k{n}" for n in range(19, 0, -1))]
    assert world.count(Receipt) == 60 * 20
    asked = {"analysis_id": chosen.id}
    assert INDEX in plan_of(app, lambda: db.session.connection().execute(receipts.LET_GO, asked))
