"""how long a lease is, and the queue in the order in which it is claimed

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OLD, NEW = "ix_ml_analyses_status_priority_created_at", "ix_ml_analyses_queue"


def upgrade() -> None:
    op.add_column("ml_analyses", sa.Column("lease_seconds", sa.Integer()))
    op.create_index(
        NEW, "ml_analyses", ["status", sa.text("priority DESC"), "created_at", "id"], unique=False
    )
    op.drop_index(OLD, table_name="ml_analyses")


def downgrade() -> None:
    op.create_index(OLD, "ml_analyses", ["status", "priority", "created_at"], unique=False)
    op.drop_index(NEW, table_name="ml_analyses")
    op.drop_column("ml_analyses", "lease_seconds")
