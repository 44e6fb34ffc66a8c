"""indexes in the order of reading

Exports and the audit trail are read a page at a time by (created_at, id); now no page reads again what came before it.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ANALYSES = (["created_at", "id"], ["model_name", "created_at", "id"], ["status", "created_at", "id"])
EVENTS = (["created_at", "id"], ["actor_id", "created_at", "id"], ["request_id"])


def upgrade() -> None:
    with op.batch_alter_table("ml_analyses", schema=None) as batch_op:
        for columns in ANALYSES:
            batch_op.create_index("_".join(["ix_ml_analyses", *columns]), columns, unique=False)
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        for columns in EVENTS:
            batch_op.create_index("_".join(["ix_audit_events", *columns]), columns, unique=False)
        batch_op.drop_index("ix_audit_events_created_at")  # the beginning of (created_at, id)


def downgrade() -> None:
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index("ix_audit_events_created_at", ["created_at"], unique=False)
        for columns in reversed(EVENTS):
            batch_op.drop_index("_".join(["ix_audit_events", *columns]))
    with op.batch_alter_table("ml_analyses", schema=None) as batch_op:
        for columns in reversed(ANALYSES):
            batch_op.drop_index("_".join(["ix_ml_analyses", *columns]))
