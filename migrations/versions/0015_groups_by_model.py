"""the analyses of a group by one model are listed along an index

One of a model that is rare in a large group and common elsewhere was sought among all of the group.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NAME = "ix_ml_analyses_group_model"
COLUMNS = ["group_row_id", "model_name", "status", "created_at", "id"]


def upgrade() -> None:
    where = sa.text("group_row_id IS NOT NULL AND deleted_at IS NULL")
    op.create_index(NAME, "ml_analyses", COLUMNS, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(NAME, table_name="ml_analyses")
