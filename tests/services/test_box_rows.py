"""Boxes as they are read to be drawn are what the rows of their annotations say."""

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Flask

from app.annotations import TYPES
from app.extensions import db
from app.models import Analysis, Annotation, Image
from app.models.columns import new_id
from app.services import annotations, box_rows
from tests.factories import World

SIDES = ("x_min", "y_min", "x_max", "y_max")
BOXES = [
    (None, None, (0.1 + 0.2, 1e-7, 640.0, 123456.78901)),
    ("moss", 0.0, (-3.5, -0.0, 12.05, 0.25)),
    ('<b>"%s"', 0.155, (0, 0, 100, 33.333333333333336)),
]


def put(analysis: Analysis, step: int, count: int) -> None:
    """Boxes at every `step`-th position, and behind each something else."""
    for rank in range(count):
        name, sure, sides = BOXES[rank % len(BOXES)]
        corners = dict(zip(SIDES, sides, strict=True))
        for kind, data, place in (
            ("bounding_box", corners, corners),
            ("polygon", TYPES["polygon"].example, dict.fromkeys(SIDES, 1.0)),
        ):
            made = Annotation(
                id=new_id(),
                analysis_id=analysis.id,
                annotation_type=kind,
                class_name=name,
                confidence=sure,
                data=data,
                client_id=f"{kind} {rank}",
                content_hash="0" * 64,
                position=rank * step + (kind == "polygon"),
                **place,
            )
            db.session.add(made)
    db.session.commit()


def told(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [
        (
            str(row.id),
            row.annotation_type,
            row.class_name,
            row.confidence,
            row.data,
            row.position,
            row.storage_path,
        )
        for row in rows
    ]


@pytest.mark.parametrize("step", [2, 7])  # read at once, and one by one
def test_boxes_are_what_their_annotations_say(app: Flask, world: World, image: Image, step: int) -> None:
    with app.app_context():
        analysis = world.analysis(image)
        put(analysis, step, 60)
        boxes = [rank * step for rank in range(60)]
        found = box_rows.at(analysis.id, boxes[1:])
        assert told(found) == told(annotations.at(analysis.id, boxes[1:], annotations.DRAWN))
        # what is no box any more is left out, and so is what lies between
        asked = [*boxes[:55:2], 55 * step, 55 * step + 1, 10**6]
        assert [row.position for row in box_rows.at(analysis.id, asked)] == [*boxes[:55:2], 55 * step]
        assert box_rows.at(analysis.id, []) == []
