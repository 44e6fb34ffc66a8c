"""whether an image was deleted is found in an index of those that were

Lists of analyses ask it for a thousand at a time, and read a row of the images for each. The index holds only the few
that were deleted.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NAME = "ix_data_instances_deleted"


def upgrade() -> None:
    where = sa.text("deleted_at IS NOT NULL")
    op.create_index(NAME, "data_instances", ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(NAME, table_name="data_instances")
