"""the few analyses that were created in a group by a process that knows of no rows of groups

Revision ID: 0010
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

ROWLESS = "ix_ml_analyses_without_group_row"


def upgrade() -> None:
    where = sa.text("group_id IS NOT NULL AND group_row_id IS NULL")
    op.create_index(ROWLESS, "ml_analyses", ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(ROWLESS, table_name="ml_analyses")
