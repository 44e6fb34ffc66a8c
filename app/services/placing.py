"""Has analyses know their project, which a process of an earlier release created beside those of this one.

Until then no list of a project has them. A task of the background does it, see `background.TASKS`.
"""

from collections.abc import Iterator

from sqlalchemy import select, update

from app.extensions import db
from app.models import Analysis, Image

ROWS = 500  # at once


def place_all(*, dry_run: bool) -> Iterator[str]:
    """Says what it does; whoever runs it commits at every step.

    It goes along their ids. What somebody else holds just now is found the next time, and what two of these find, both
    place alike.
    """
    placeless = select(Analysis.id).where(Analysis.project_id.is_(None)).order_by(Analysis.id).limit(ROWS)
    placeless = placeless.with_for_update(key_share=True, skip_locked=True)
    ids = db.session.scalars(placeless).all()
    while ids:
        if not dry_run:
            of_image = {Analysis.project_id: Image.project_id, Analysis.image_created_at: Image.created_at}
            place = update(Analysis).where(Analysis.id.in_(ids), Image.id == Analysis.image_id)
            db.session.execute(place.values(of_image), execution_options={"synchronize_session": False})
        yield f"{len(ids)} {'analysis' if len(ids) == 1 else 'analyses'} placed in projects"
        ids = db.session.scalars(placeless.where(Analysis.id > ids[-1])).all()
