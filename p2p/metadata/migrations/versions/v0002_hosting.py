"""Version 2: owned blobs, manifests and what they refer to, leases, the review queue, uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TEXT = sa.String().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add to what there is. Version 1 hosted layouts only, which have a registry name of their own now."""
    op.execute("UPDATE repository SET registry = 'layout.invalid' WHERE registry = 'hosted.invalid'")
    op.add_column("link", sa.Column("leased_until", sa.BigInteger, nullable=True))
    op.create_index("link_digest", "link", ["digest"])
    op.create_index("tag_digest", "tag", ["repository", "digest"])
    op.create_table(
        "blob",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    deleting = sa.text("state = 1")
    op.create_index("blob_deleting", "blob", ["digest"], sqlite_where=deleting, postgresql_where=deleting)
    _manifests()
    op.create_table(
        "gc_queue",
        sa.Column("digest", TEXT, sa.ForeignKey("blob.digest"), primary_key=True),
        sa.Column("review_after", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("gc_queue_due", "gc_queue", ["review_after", "digest"])
    op.create_table(
        "upload_session",
        sa.Column("session", TEXT, primary_key=True),
        sa.Column("registry", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("upload_session_expires", "upload_session", ["expires", "session"])


def _manifests() -> None:
    op.create_table(
        "manifest",
        sa.Column("repository", sa.Integer, sa.ForeignKey("repository.id"), primary_key=True),
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("subject", TEXT, nullable=True),
        sa.Column("artifact_type", TEXT, nullable=False),
        sa.Column("annotations", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["repository", "digest"], ["link.repository", "link.digest"]),
        sqlite_with_rowid=False,
    )
    subject = sa.text("subject IS NOT NULL")
    for name, columns in (
        ("manifest_subject", ["repository", "subject", "digest"]),
        ("manifest_subject_type", ["repository", "subject", "artifact_type", "digest"]),
    ):
        op.create_index(name, "manifest", columns, sqlite_where=subject, postgresql_where=subject)
    op.create_table(
        "manifest_reference",
        sa.Column("repository", sa.Integer, primary_key=True),
        sa.Column("parent", TEXT, primary_key=True),
        sa.Column("child", TEXT, primary_key=True),
        sa.ForeignKeyConstraint(["repository", "parent"], ["manifest.repository", "manifest.digest"]),
        sqlite_with_rowid=False,
    )
    op.create_index("manifest_reference_child", "manifest_reference", ["child", "repository"])
