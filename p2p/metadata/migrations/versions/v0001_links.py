"""Version 1: repositories, tags, and the digests that repositories reach."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

TEXT = sa.String().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables, as the first release did."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, nullable=False))
    op.execute("INSERT INTO schema_version (version) VALUES (1)")
    op.create_table(
        "repository",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("registry", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.UniqueConstraint("registry", "path"),
    )
    op.create_table(
        "link",
        sa.Column("repository", sa.Integer, sa.ForeignKey("repository.id"), primary_key=True),
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tag",
        sa.Column("repository", sa.Integer, sa.ForeignKey("repository.id"), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["repository", "digest"], ["link.repository", "link.digest"]),
        sqlite_with_rowid=False,
    )
