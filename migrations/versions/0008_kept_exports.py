"""exports that are written in the background and kept, and the audit trail of a project in its order

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
OLD, NEW = "ix_audit_events_project_id", "ix_audit_events_project_id_created_at_id"


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("selection", JSON, nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("columns", JSON),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("project_name", sa.String(length=255), nullable=False),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("content_type", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("analyses_total", sa.BigInteger(), nullable=False),
        sa.Column("annotations_total", sa.BigInteger(), nullable=False),
        sa.Column("estimated_bytes", sa.BigInteger(), nullable=False),
        sa.Column("analyses_done", sa.BigInteger(), nullable=False),
        sa.Column("annotations_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_written", sa.BigInteger(), nullable=False),
        sa.Column("storage_path", sa.String(length=255)),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String(length=64)),
        sa.Column("requested_by_id", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["requested_by_id"], ["users.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_exports_created_at_id", "exports", ["created_at", "id"])
    op.create_index("ix_exports_state_due_at", "exports", ["state", "due_at"])
    op.create_index("ix_exports_expires_at", "exports", ["expires_at"])
    op.create_index(NEW, "audit_events", ["project_id", "created_at", "id"])
    op.drop_index(OLD, table_name="audit_events")


def downgrade() -> None:
    op.create_index(OLD, "audit_events", ["project_id"])
    op.drop_index(NEW, table_name="audit_events")
    op.drop_table("exports")
