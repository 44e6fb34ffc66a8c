"""tell PostgreSQL that an analysis may hold a thousand annotations, however few it has counted

It counts a table now and then. A database that was counted while its analyses were small takes the next one for small
too, reads all of it to find each annotation of a batch by its `client_id`, and does so until it counts again.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMN = "ALTER TABLE ml_annotations ALTER COLUMN analysis_id"


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"{COLUMN} SET (n_distinct = -0.001)")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"{COLUMN} RESET (n_distinct)")
