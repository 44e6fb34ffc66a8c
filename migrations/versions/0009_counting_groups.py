"""groups are counted from an index alone, and what has yet to find the row of its group is found by one

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

IN_GROUP, ROWLESS = "group_row_id IS NOT NULL", "group_id IS NOT NULL AND group_row_id IS NULL"
IN_ORDER = ["group_row_id", "status", "created_at", "id"]
OLD = ("ix_ml_analyses_group_row_id_status_created_at_id", IN_ORDER, IN_GROUP)
NEW = ("ix_ml_analyses_group_counts", [*IN_ORDER, "deleted_at", "image_id", "annotation_count"], IN_GROUP)
WITHOUT_ROW = ("ix_ml_analyses_without_group_row", ["id"], ROWLESS)


def _create(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "ml_analyses", columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    _create(*WITHOUT_ROW)
    _create(*NEW)
    op.drop_index(OLD[0], table_name="ml_analyses")


def downgrade() -> None:
    _create(*OLD)
    op.drop_index(NEW[0], table_name="ml_analyses")
    op.drop_index(WITHOUT_ROW[0], table_name="ml_analyses")
