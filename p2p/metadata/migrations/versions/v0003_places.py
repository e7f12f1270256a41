"""Version 3: where blobs lie in the content that front ends share, and what is being put there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

TEXT = sa.String().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add to what there is: nothing lies anywhere but in the stores of front ends."""
    op.add_column("blob", sa.Column("location", TEXT, nullable=False, server_default=""))
    placed = sa.text("location != ''")
    op.create_index(
        "blob_location", "blob", ["location"], unique=True, sqlite_where=placed, postgresql_where=placed
    )
    op.create_table(
        "content_put",
        sa.Column("location", TEXT, primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("content_put_since", "content_put", ["since", "location"])
    op.create_table(
        "content_owner",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("id", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
