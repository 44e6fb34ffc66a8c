"""groups

A row for each group of a project, and indexes along which the analyses of one are read. What was created in a group
before finds its row here.

Revision ID: 0007
Revises: 0006
"""

from uuid import UUID

import sqlalchemy as sa
import uuid_utils
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

AT_ONCE = 1000
INDEXES = (["group_row_id", "created_at", "id"], ["group_row_id", "status", "created_at", "id"])

groups = sa.table(
    "analysis_groups",
    sa.column("id", sa.Uuid()),
    sa.column("project_id", sa.Uuid()),
    sa.column("group_id", sa.String()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
analyses = sa.table(
    "ml_analyses",
    sa.column("image_id", sa.Uuid()),
    sa.column("group_id", sa.String()),
    sa.column("group_row_id", sa.Uuid()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
images = sa.table("data_instances", sa.column("id", sa.Uuid()), sa.column("project_id", sa.Uuid()))


def upgrade() -> None:
    op.create_table(
        "analysis_groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_analysis_groups_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis_groups")),
    )
    of_projects = (
        ("ix_analysis_groups_project_id_group_id", ["project_id", "group_id"], True),
        ("ix_analysis_groups_project_id_created_at_id", ["project_id", "created_at", "id"], False),
    )
    for name, columns, unique in of_projects:
        op.create_index(name, "analysis_groups", columns, unique=unique)
    op.add_column("ml_analyses", sa.Column("group_row_id", sa.Uuid()))
    _fill()
    where = sa.text("group_row_id IS NOT NULL")
    for columns in INDEXES:
        name = "_".join(["ix_ml_analyses", *columns])
        op.create_index(name, "ml_analyses", columns, sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_ml_analyses_group_id", table_name="ml_analyses")


def _fill() -> None:
    connection = op.get_bind()
    first = sa.func.min(analyses.c.created_at).label("created_at")
    there = sa.select(images.c.project_id, analyses.c.group_id, first).select_from(
        analyses.join(images, images.c.id == analyses.c.image_id)
    )
    there = there.where(analyses.c.group_id.is_not(None)).group_by(images.c.project_id, analyses.c.group_id)
    found = connection.execute(there).mappings().all()
    for start in range(0, len(found), AT_ONCE):
        rows = [{"id": _new_id(), **row} for row in found[start : start + AT_ONCE]]
        connection.execute(sa.insert(groups), rows)
    same = (groups.c.project_id == images.c.project_id) & (groups.c.group_id == analyses.c.group_id)
    of_it = (
        sa.select(groups.c.id)
        .select_from(groups.join(images, same))
        .where(images.c.id == analyses.c.image_id)
    )
    fill = sa.update(analyses).where(analyses.c.group_id.is_not(None))
    connection.execute(fill.values(group_row_id=of_it.correlate(analyses).scalar_subquery()))


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)


def downgrade() -> None:
    op.create_index("ix_ml_analyses_group_id", "ml_analyses", ["group_id"], unique=False)
    for columns in reversed(INDEXES):
        op.drop_index("_".join(["ix_ml_analyses", *columns]), table_name="ml_analyses")
    op.drop_column("ml_analyses", "group_row_id")
    op.drop_table("analysis_groups")
