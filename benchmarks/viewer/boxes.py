"""Boxes by the hundred thousand, straight into the tables, in the rows that the service would write.

The same number always gives the same boxes. A million take about a quarter of a minute.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Table, update
from uuid_utils import uuid7

from app.models import Analysis
from app.models.columns import now
from benchmarks.baseline.annotations import insert

CLASSES = (
    *("car", "truck", "bus", "bicycle", "pedestrian", "dog"),
    *("traffic light", "traffic sign", "tree", "bench", "bin", "lamp"),
)
SIDES = 8, 40  # pixels, from and to
AT_ONCE = 50_000  # rows in one statement, which PostgreSQL ends after half a minute


def rows(analysis_id: UUID, count: int, width: int, height: int) -> Iterator[tuple[Any, ...]]:
    """Rows of `baseline.COLUMNS`: boxes of a side within SIDES, spread evenly over the image, in CLASSES."""
    chance = np.random.default_rng(count)
    sides = chance.uniform(*SIDES, (count, 2))
    low = chance.uniform(0, 1, (count, 2)) * (np.array([width, height]) - sides)
    corners = np.hstack([low, low + sides]).round(2).tolist()
    names = chance.integers(len(CLASSES), size=count).tolist()
    confidences = chance.uniform(0.05, 1, count).round(4).tolist()
    owner, moment = analysis_id.hex, f"{now():%Y-%m-%d %H:%M:%S.%f}"
    for place, ((x_min, y_min, x_max, y_max), name, confidence) in enumerate(
        zip(corners, names, confidences, strict=True)
    ):
        data = f'{{"x_min": {x_min}, "y_min": {y_min}, "x_max": {x_max}, "y_max": {y_max}}}'
        content = hashlib.sha256(f"{name} {confidence} {data}".encode()).hexdigest()
        yield (
            *(uuid7().hex, owner, "bounding_box", CLASSES[name], confidence, data, place, moment),
            *(f"box-{place:07}", content, place, x_min, y_min, x_max, y_max),
        )


def fill(connection: Connection, analysis_id: UUID, count: int, width: int, height: int) -> None:
    """Gives an analysis without annotations so many boxes, in the caller's transaction."""
    made = rows(analysis_id, count, width, height)
    while some := list(islice(made, AT_ONCE)):
        insert(connection, some)
    table = cast(Table, Analysis.__table__)
    counts = {"annotation_count": count, "next_position": count, "revision": table.c.revision + 1}
    connection.execute(update(table).where(table.c.id == analysis_id).values(counts))
