"""The ids of boxes as they are asked for to be drawn: those of their rows, and of nothing else."""

import pytest
from flask import Flask

from app.annotations import TYPES
from app.extensions import db
from app.models import Analysis, Annotation, Image
from app.models.columns import new_id
from app.services import box_ids
from tests.factories import World


def put(analysis: Analysis, step: int, count: int) -> dict[int, str]:
    """Boxes at every `step`-th position, and behind each something else; the ids of the boxes."""
    made = [
        Annotation(
            id=new_id(),
            analysis_id=analysis.id,
            annotation_type=kind,
            data=TYPES[kind].example,
            client_id=f"{kind} {rank}",
            content_hash="0" * 64,
            position=rank * step + (kind == "polygon"),
        )
        for rank in range(count)
        for kind in ("bounding_box", "polygon")
    ]
    db.session.add_all(made)
    db.session.commit()
    return {one.position: str(one.id) for one in made if one.annotation_type == "bounding_box"}


@pytest.mark.parametrize("step", [2, 7])  # read at once, and one by one
def test_boxes_have_the_ids_of_their_annotations(app: Flask, world: World, image: Image, step: int) -> None:
    with app.app_context():
        analysis = world.analysis(image)
        ids = put(analysis, step, 60)
        boxes = list(ids)
        found = box_ids.at(analysis.id, boxes[1:])
        assert list(found.items()) == list(ids.items())[1:]
        # what is no box any more is left out, and so is what lies between
        asked = [*boxes[:55:2], 55 * step, 55 * step + 1, 10**6]
        assert list(box_ids.at(analysis.id, asked)) == [*boxes[:55:2], 55 * step]
        assert box_ids.at(analysis.id, []) == {}
