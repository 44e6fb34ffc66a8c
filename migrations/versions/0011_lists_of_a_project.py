"""lists of a project are read along indexes

Analyses know their project and when their image was made, and galleries are counted beforehand. Four indexes take in
only the few rows that have what they index, as every index makes each change of a status dearer.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
THERE = "deleted_at IS NULL"
NEW = (
    ("ix_ml_analyses_of_project", ["project_id", "status", "created_at", "id"], THERE),
    ("ix_ml_analyses_of_project_model", ["project_id", "model_name", "status", "created_at", "id"], THERE),
    ("ix_ml_analyses_images", ["project_id", "status", "image_created_at", "image_id"], THERE),
    (
        "ix_ml_analyses_images_model",
        ["project_id", "model_name", "status", "image_created_at", "image_id"],
        THERE,
    ),
    ("ix_ml_analyses_without_project", ["id"], "project_id IS NULL"),
)
OF_FEW = ("retry_of_id", "pipeline_key_id", "lease_expires_at", "claim_hash")
BY_NAME = "ix_data_instances_project_id_name"

analyses = sa.table(
    "ml_analyses",
    sa.column("image_id", sa.Uuid()),
    sa.column("project_id", sa.Uuid()),
    sa.column("image_created_at", sa.DateTime(timezone=True)),
)
images = sa.table(
    "data_instances",
    sa.column("id", sa.Uuid()),
    sa.column("project_id", sa.Uuid()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)


def _create(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "ml_analyses", columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    # the images before their analyses, as whoever deletes an image takes them: neither waits for the other then
    op.create_index(BY_NAME, "data_instances", ["project_id", sa.text("lower(filename)"), "id"])
    for name in OF_FEW:  # before every row is written anew, which would write to each index
        op.drop_index(f"ix_ml_analyses_{name}", table_name="ml_analyses")
    op.add_column("ml_analyses", sa.Column("project_id", sa.Uuid()))
    op.add_column("ml_analyses", sa.Column("image_created_at", sa.DateTime(timezone=True)))
    _fill()
    for name in OF_FEW:
        _create(f"ix_ml_analyses_{name}", [name], f"{name} IS NOT NULL")
    for index in NEW:
        _create(*index)
    if op.get_context().dialect.name == "postgresql":
        # nor does it learn how large a project is: for a large one it would walk the index of all projects by time
        op.execute("ALTER TABLE ml_analyses ALTER COLUMN project_id SET STATISTICS 0")
    op.create_table(
        "project_counts",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("annotations", sa.BigInteger(), nullable=False),
        sa.Column("by_status", JSON, nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id"),
    )


def _fill() -> None:
    """All at once: nobody else can use the table before the end, as it has new columns."""
    of = {"project_id": images.c.project_id, "image_created_at": images.c.created_at}
    fill = sa.update(analyses).where(images.c.id == analyses.c.image_id).values(of)
    op.get_bind().execute(fill)


def downgrade() -> None:
    op.drop_index(BY_NAME, table_name="data_instances")
    for name, _, _ in reversed(NEW):
        op.drop_index(name, table_name="ml_analyses")
    for name in OF_FEW:
        op.drop_index(f"ix_ml_analyses_{name}", table_name="ml_analyses")
        op.create_index(f"ix_ml_analyses_{name}", "ml_analyses", [name])
    op.drop_column("ml_analyses", "image_created_at")
    op.drop_column("ml_analyses", "project_id")
    op.drop_table("project_counts")
