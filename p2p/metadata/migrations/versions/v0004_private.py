"""Version 4: which repositories are private, and which digests came from there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

TEXT = sa.String().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add to what there is. Nothing is known of what came before: a start finds it unjudged."""
    op.add_column("repository", sa.Column("private", sa.SmallInteger, nullable=True))
    op.add_column("repository", sa.Column("judged_at", sa.BigInteger, nullable=True))
    op.create_table(
        "confined",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("repository", sa.Integer, sa.ForeignKey("repository.id"), primary_key=True),
        sa.Column("proven", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("confined_repository", "confined", ["repository"])
