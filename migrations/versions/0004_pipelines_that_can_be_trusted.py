"""pipelines that can be trusted

Pipeline keys, used nonces, leases and attempts, soft deletion, receipts, webhooks, and whose turn background work is.
Columns are added and dropped in place: SQLite would else make the table anew, and dropping the old one would take along
all that hangs on it.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
LAST_USED = (
    lambda: sa.Column("last_used_at", sa.DateTime(timezone=True)),
    lambda: sa.Column("last_used_from", sa.String(length=255)),
    lambda: sa.Column("last_used_agent", sa.String(length=255)),
)
OF_ANALYSES = (
    lambda: sa.Column("deleted_at", sa.DateTime(timezone=True)),
    lambda: sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"),
    lambda: sa.Column("retry_of_id", sa.Uuid()),
    lambda: sa.Column("pipeline_key_id", sa.String(length=64)),
    lambda: sa.Column("lease_epoch", sa.Integer(), nullable=False, server_default="0"),
    lambda: sa.Column("lease_owner", sa.String(length=255)),
    lambda: sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
    lambda: sa.Column("claim_hash", sa.String(length=64)),
)
INDEXES = {
    "ml_analyses": (
        ["retry_of_id"],
        ["pipeline_key_id"],
        ["lease_expires_at"],
        ["claim_hash"],
        ["status", "priority", "created_at"],
    ),
}
SOFTLY_DELETED = ("ml_analyses", "data_instances")


def upgrade() -> None:
    for make in OF_ANALYSES:
        op.add_column("ml_analyses", make())
    for make in LAST_USED:
        op.add_column("user_keys", make())
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.create_index("_".join(["ix", table, *columns]), table, columns, unique=False)
    where = sa.text("deleted_at IS NOT NULL")
    for table in SOFTLY_DELETED:
        name = f"ix_{table}_deleted_at"
        op.create_index(name, table, ["deleted_at"], sqlite_where=where, postgresql_where=where)
    _keys()
    _receipts()
    _webhooks()
    op.create_table(
        "turns",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=64)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turns")),
    )


def _keys() -> None:
    op.create_table(
        "pipeline_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("signing_secret", sa.Text(), nullable=False),
        sa.Column("min_scheme", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("replaces_id", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        *(make() for make in LAST_USED),
        sa.ForeignKeyConstraint(
            ["created_by_id"],
            ["users.id"],
            name=op.f("fk_pipeline_keys_created_by_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_keys")),
    )
    op.create_table(
        "pipeline_key_projects",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["pipeline_keys.id"],
            name=op.f("fk_pipeline_key_projects_key_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_pipeline_key_projects_project_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", "project_id", name=op.f("pk_pipeline_key_projects")),
    )
    op.create_table(
        "used_nonces",
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("target_hash", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "value", name=op.f("pk_used_nonces")),
    )
    op.create_index(op.f("ix_used_nonces_expires_at"), "used_nonces", ["expires_at"], unique=False)


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_label", sa.String(length=320), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("batch", sa.String(length=128), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("notes", JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["analysis_id"],
            ["ml_analyses.id"],
            name=op.f("fk_receipts_analysis_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
    )
    op.create_index(
        "ix_receipts_analysis_id_created_at", "receipts", ["analysis_id", "created_at", "id"], unique=False
    )


def _webhooks() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    for columns in (["created_at", "id"], ["next_attempt_at"], ["analysis_id"]):
        name = "_".join(["ix_webhook_deliveries", *columns])
        op.create_index(name, "webhook_deliveries", columns, unique=False)
    op.create_table(
        "webhook_targets",
        sa.Column("url_hash", sa.String(length=64), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("url_hash", name=op.f("pk_webhook_targets")),
    )


def downgrade() -> None:
    for name in (
        "turns",
        "webhook_targets",
        "webhook_deliveries",
        "receipts",
        "used_nonces",
        "pipeline_key_projects",
        "pipeline_keys",
    ):
        op.drop_table(name)
    for table in SOFTLY_DELETED:
        op.drop_index(f"ix_{table}_deleted_at", table_name=table)
    for table, indexes in INDEXES.items():
        for columns in reversed(indexes):
            op.drop_index("_".join(["ix", table, *columns]), table_name=table)
    for make in LAST_USED:
        op.drop_column("user_keys", make().name)
    for make in OF_ANALYSES:
        op.drop_column("ml_analyses", make().name)
