"""annotations that name a file are found along an index

An end asked all annotations of its analysis which files they name, a million where there are a million. The index holds
only those that name one, so that boxes cost nothing more.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = "ix_ml_annotations_files"


def upgrade() -> None:
    where = sa.text("storage_path IS NOT NULL")
    columns = ["analysis_id", "storage_path"]
    op.create_index(NAME, "ml_annotations", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(NAME, table_name="ml_annotations")
