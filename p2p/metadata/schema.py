"""The tables. Importing this imports SQLAlchemy: do it late, only where a database is opened.

Which index serves which question (each is a search in a B-tree, whatever the number of repositories):

- a repository by name, and repositories in order: the unique (registry, path);
- describe, tag, tag pages, "is it a manifest here", children of a manifest: primary keys;
- who links a digest (mount from anywhere, claim): ``link_digest``;
- the tags of a manifest (its removal): ``tag_digest``;
- who refers to a digest (removal, claim): ``manifest_reference_child``;
- which repositories changed, and when one did last: ``repository_changed``;
- referrers, in order of digest: ``manifest_subject``, with an artifact type ``manifest_subject_type``;
- what a crash left between claim and deletion: ``blob_deleting``, which has only those;
- whether a key is a blob's place: ``blob_location``; puts that were begun: ``content_put_since``;
- what came from private repositories: all of ``confined``, once at the start; by repository, where one turns
  public: ``confined_repository``;
- what is due: ``gc_queue_due``; uploads whose time is over: ``upload_session_expires``.

Times are microseconds since 1970 UTC: SQLite has no type for a time with its zone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

VERSION = 5
"""Of the schema; a database with a higher one was written by a later release."""

KEPT = 0
DELETING = 1

# Order is that of ASCII everywhere: SQLite compares bytes, PostgreSQL does with the C collation.
TEXT = String().with_variant(postgresql.TEXT(collation="C"), "postgresql")

tables = MetaData()

schema_version = Table("schema_version", tables, Column("version", Integer, nullable=False))

# Alembic's own, made by us so that a new database can be made without Alembic.
alembic_version = Table(
    "alembic_version", tables, Column("version_num", String(32), primary_key=True, nullable=False)
)

repository = Table(
    "repository",
    tables,
    Column("id", Integer, primary_key=True),
    Column("registry", TEXT, nullable=False),
    Column("path", TEXT, nullable=False),
    # Whether it was private (1) when that was last found out; null where it never was.
    Column("private", SmallInteger, nullable=True),
    Column("judged_at", BigInteger, nullable=True),
    # When what was pushed to it changed last; null where nothing ever was.
    Column("changed", BigInteger, nullable=True),
    UniqueConstraint("registry", "path"),
)
Index(
    "repository_changed",
    repository.c.registry,
    repository.c.changed,
    repository.c.path,
    sqlite_where=repository.c.changed.is_not(None),
    postgresql_where=repository.c.changed.is_not(None),
)

link = Table(
    "link",
    tables,
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    Column("digest", TEXT, primary_key=True),
    Column("media_type", TEXT, nullable=False),
    Column("size", BigInteger, nullable=False),
    # The lease: it is of the link and goes with it, so no lease is ever left over.
    Column("leased_until", BigInteger, nullable=True),
    Index("link_digest", "digest"),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    tables,
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("digest", TEXT, nullable=False),
    Column("media_type", TEXT, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["repository", "digest"], ["link.repository", "link.digest"]),
    Index("tag_digest", "repository", "digest"),
    sqlite_with_rowid=False,
)

blob = Table(
    "blob",
    tables,
    Column("digest", TEXT, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # The key in the content that front ends share; "": it has none.
    Column("location", TEXT, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)
Index(
    "blob_location",
    blob.c.location,
    unique=True,
    sqlite_where=blob.c.location != "",
    postgresql_where=blob.c.location != "",
)
Index(
    "blob_deleting",
    blob.c.digest,
    sqlite_where=blob.c.state == DELETING,
    postgresql_where=blob.c.state == DELETING,
)

manifest = Table(
    "manifest",
    tables,
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    Column("digest", TEXT, primary_key=True),
    Column("subject", TEXT, nullable=True),
    Column("artifact_type", TEXT, nullable=False),
    # JSON, a list of pairs: they keep their order.
    Column("annotations", TEXT, nullable=False),
    ForeignKeyConstraint(["repository", "digest"], ["link.repository", "link.digest"]),
    sqlite_with_rowid=False,
)
for _name, _columns in (
    ("manifest_subject", ("repository", "subject", "digest")),
    ("manifest_subject_type", ("repository", "subject", "artifact_type", "digest")),
):
    Index(
        _name,
        *(manifest.c[column] for column in _columns),
        sqlite_where=manifest.c.subject.is_not(None),
        postgresql_where=manifest.c.subject.is_not(None),
    )

manifest_reference = Table(
    "manifest_reference",
    tables,
    Column("repository", Integer, primary_key=True),
    Column("parent", TEXT, primary_key=True),
    # It need not be here: a foreign layer, or what a sparse index leaves out.
    Column("child", TEXT, primary_key=True),
    ForeignKeyConstraint(["repository", "parent"], ["manifest.repository", "manifest.digest"]),
    Index("manifest_reference_child", "child", "repository"),
    sqlite_with_rowid=False,
)

gc_queue = Table(
    "gc_queue",
    tables,
    Column("digest", ForeignKey("blob.digest"), primary_key=True),
    Column("review_after", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("gc_queue_due", "review_after", "digest"),
    sqlite_with_rowid=False,
)

upload_session = Table(
    "upload_session",
    tables,
    Column("session", TEXT, primary_key=True),
    # By name: a session alone makes no repository, and outlives one that is dropped.
    Column("registry", TEXT, nullable=False),
    Column("path", TEXT, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("upload_session_expires", "expires", "session"),
    sqlite_with_rowid=False,
)

content_put = Table(
    "content_put",
    tables,
    Column("location", TEXT, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Index("content_put_since", "since", "location"),
    sqlite_with_rowid=False,
)

content_owner = Table(
    "content_owner",
    tables,
    # One row at most.
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", TEXT, nullable=False),
    sqlite_with_rowid=False,
)

confined = Table(
    "confined",
    tables,
    Column("digest", TEXT, primary_key=True),
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    # 1: the upstream gave it, or said that the repository has it. 0: on the repository's account alone.
    Column("proven", SmallInteger, nullable=False),
    Index("confined_repository", "repository"),
    sqlite_with_rowid=False,
)
