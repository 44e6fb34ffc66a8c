"""The ids of boxes: all that drawing them asks of the database beyond the snapshot, where that has none."""

from collections.abc import Sequence
from operator import itemgetter
from uuid import UUID

from sqlalchemy import Text, and_, bindparam, cast, select

from app.dialect import found_by_key, rows_in_order
from app.extensions import db
from app.models import Annotation
from app.services.annotation_rows import dashed
from app.services.annotations import are_together

_OF = Annotation.__table__.c
_COLUMNS = (_OF.position, cast(_OF.id, Text).label("id"))
_BOXES = and_(_OF.analysis_id == bindparam("analysis_id"), _OF.annotation_type == "bounding_box")
_BETWEEN = (
    select(*_COLUMNS)
    .where(_BOXES, _OF.position.between(bindparam("first"), bindparam("last")))
    .order_by(_OF.position)
)


def at(analysis_id: UUID, positions: Sequence[int]) -> dict[int, str]:
    """Of the boxes that stand at these positions, which rise, in their order: those that are there."""
    if not positions:
        return {}
    connection, values = db.session.connection(), {"analysis_id": analysis_id}
    if are_together(positions):
        ends = {"first": positions[0], "last": positions[-1]}
        rows = rows_in_order(connection, _BETWEEN, values | ends)
    else:
        found = found_by_key(_COLUMNS, _BOXES, _OF.position, list(positions))
        rows = sorted(rows_in_order(connection, found, values), key=itemgetter(0))
    wanted = set(positions)
    return {position: dashed(id) for position, id in rows if position in wanted}
