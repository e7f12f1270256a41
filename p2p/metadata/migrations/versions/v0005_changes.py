"""Version 5: when the manifests and tags of a repository changed last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add to what there is. All that is hosted counts as changed, long ago."""
    op.add_column("repository", sa.Column("changed", sa.BigInteger, nullable=True))
    # More than a minute apart: who follows changes looks at those of the last minute again and again.
    op.execute("UPDATE repository SET changed = id * 60000001 WHERE registry = 'hosted.invalid'")
    known = sa.text("changed IS NOT NULL")
    op.create_index(
        "repository_changed",
        "repository",
        ["registry", "changed", "path"],
        sqlite_where=known,
        postgresql_where=known,
    )
