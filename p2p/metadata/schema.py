"""The tables. Importing this imports SQLAlchemy: do it late, only where a database is opened."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

VERSION = 1
"""Of the schema; a database with a higher one was written by a later release."""

tables = MetaData()

schema_version = Table("schema_version", tables, Column("version", Integer, nullable=False))

repository = Table(
    "repository",
    tables,
    Column("id", Integer, primary_key=True),
    Column("registry", String, nullable=False),
    Column("path", String, nullable=False),
    UniqueConstraint("registry", "path"),
)

link = Table(
    "link",
    tables,
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    Column("digest", String, primary_key=True),
    Column("media_type", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    tables,
    Column("repository", ForeignKey("repository.id"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    # Microseconds since 1970 UTC: SQLite has no type for a time with its zone.
    Column("confirmed_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["repository", "digest"], ["link.repository", "link.digest"]),
    sqlite_with_rowid=False,
)
