"""Metadata in SQLite through SQLAlchemy Core, with hot answers in memory.

Importing this imports SQLAlchemy (tens of milliseconds and megabytes): commands that open no database
must not. One connection, used by one worker thread at a time; a request whose answers were given before
costs no thread hop.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
import trio
from sqlalchemy import create_engine, delete, event, insert, select, text
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.errors import LocalError, StoreFullError
from p2p.metadata import schema
from p2p.metadata.api import TagRow, merged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from sqlalchemy.engine import Connection, Engine

    from p2p.core.oci.reference import Repository

log = structlog.get_logger(__name__)

FILE = "metadata.db"
HOT_LINKS = 16_384
HOT_TAGS = 4_096
BUSY_SECONDS = 5.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ASIDE = "The node can be stopped and the file moved aside: tags and links are asked of the origins anew"

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class _Hot(Generic[K, V]):
    """The last answers, at most ``room`` of them."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._room:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        self._kept.pop(key, None)

    def fill(self, key: K, value: V) -> V:
        """Keep what was read, unless a write that ended meanwhile has left something newer."""
        newer = self._kept.get(key)
        if newer is not None:
            return newer
        self.put(key, value)
        return value


class SqlMetadata:
    """``Metadata`` in one SQLite file; made by ``open_metadata``."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._worker = trio.CapacityLimiter(1)
        self._links: _Hot[tuple[Repository, Digest], Descriptor] = _Hot(HOT_LINKS)
        self._tags: _Hot[tuple[Repository, str], TagRow] = _Hot(HOT_TAGS)

    async def tag(self, repository: Repository, tag: str) -> TagRow | None:
        """Look up one tag."""
        hot = self._tags.get((repository, tag))
        if hot is not None:
            return hot
        row = await self._do(lambda: self._read_tag(repository, tag))
        return None if row is None else self._tags.fill((repository, tag), row)

    async def put_tag(self, repository: Repository, tag: str, row: TagRow) -> None:
        """Create or move a tag and link its digest, in one transaction."""
        try:
            kept = await self._do(lambda: self._write_tag(repository, tag, row))
        except StoreFullError as error:
            kept = merged(self._links.get((repository, row.digest)), row.target)
            self._forgive(error)
        self._links.put((repository, row.digest), kept)
        self._tags.put((repository, tag), row)

    async def remove_tag(self, repository: Repository, tag: str) -> None:
        """Remove a tag if it is there."""
        self._tags.drop((repository, tag))
        await self._do(lambda: self._delete_tag(repository, tag))
        self._tags.drop((repository, tag))  # what a reader put there while the row was going

    async def tags(self, repository: Repository, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` tags after ``last``, in ASCII order."""
        return await self._do(lambda: self._read_tags(repository, n, last))

    async def repositories(self, registry: str, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` paths of a registry's repositories that have a tag, after ``last``, in order."""
        return await self._do(lambda: self._read_repositories(registry, n, last))

    async def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether the digest was linked to the repository."""
        return await self.describe(repository, digest) is not None

    async def describe(self, repository: Repository, digest: Digest) -> Descriptor | None:
        """Give digest, size and media type as linked, or None."""
        hot = self._links.get((repository, digest))
        if hot is not None:
            return hot
        found = await self._do(lambda: self._read_link(repository, digest))
        return None if found is None else self._links.fill((repository, digest), found)

    async def link(self, repository: Repository, content: Sequence[Descriptor]) -> None:
        """Record that the repository reaches these; no thread hop where nothing is new."""
        new = [each for each in content if self._is_news(repository, each)]
        if not new:
            return
        try:
            kept = await self._do(lambda: self._write_links(repository, new))
        except StoreFullError as error:
            kept = [merged(self._links.get((repository, each.digest)), each) for each in new]
            self._forgive(error)
        for each in kept:
            self._links.put((repository, each.digest), each)

    def _forgive(self, error: StoreFullError) -> None:
        # Pulls go on without room on the disk: what can be asked again anew is kept in memory only.
        log.warning("metadata kept in memory only", cause=str(error))

    def _is_news(self, repository: Repository, new: Descriptor) -> bool:
        known = self._links.get((repository, new.digest))
        return known is None or merged(known, new) != known

    # ── in the worker thread ────────────────────────────────────────────────────────────────────────

    async def _do(self, work: Callable[[], T]) -> T:
        def transaction() -> T:
            with self._connection.begin():
                return work()

        try:
            return await trio.to_thread.run_sync(transaction, limiter=self._worker)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise _mapped(self._subject, error) from error

    def _repository(self, repository: Repository) -> int | None:
        where = schema.repository.c
        row = self._connection.execute(
            select(where.id).where(where.registry == repository.registry, where.path == repository.path)
        ).first()
        return None if row is None else int(row.id)

    def _made_repository(self, repository: Repository) -> int:
        known = self._repository(repository)
        if known is not None:
            return known
        made = self._connection.execute(
            insert(schema.repository)
            .values(registry=repository.registry, path=repository.path)
            .returning(schema.repository.c.id)
        )
        return int(made.scalar_one())

    def _read_tag(self, repository: Repository, tag: str) -> TagRow | None:
        where = schema.tag.c
        row = self._connection.execute(
            select(schema.tag).where(where.repository == self._repository(repository), where.name == tag)
        ).first()
        if row is None:
            return None
        return TagRow(
            digest=Digest.parse(row.digest),
            media_type=row.media_type,
            size=row.size,
            confirmed_at=_EPOCH + row.confirmed_at * _MICROSECOND,
        )

    def _write_tag(self, repository: Repository, tag: str, row: TagRow) -> Descriptor:
        (kept,) = self._write_links(repository, [row.target])
        values = {
            "digest": str(row.digest),
            "media_type": row.media_type,
            "size": row.size,
            "confirmed_at": (row.confirmed_at - _EPOCH) // _MICROSECOND,
        }
        self._connection.execute(
            upsert(schema.tag)
            .values(repository=self._made_repository(repository), name=tag, **values)
            .on_conflict_do_update(index_elements=["repository", "name"], set_=values)
        )
        return kept

    def _delete_tag(self, repository: Repository, tag: str) -> None:
        where = schema.tag.c
        self._connection.execute(
            delete(schema.tag).where(where.repository == self._repository(repository), where.name == tag)
        )

    def _read_tags(self, repository: Repository, n: int, last: str) -> list[str]:
        where = schema.tag.c
        return list(
            self._connection.execute(
                select(where.name)
                .where(where.repository == self._repository(repository), where.name > last)
                .order_by(where.name)
                .limit(n)
            ).scalars()
        )

    def _read_repositories(self, registry: str, n: int, last: str) -> list[str]:
        where = schema.repository.c
        tagged = select(schema.tag.c.name).where(schema.tag.c.repository == where.id).exists()
        return list(
            self._connection.execute(
                select(where.path)
                .where(where.registry == registry, where.path > last, tagged)
                .order_by(where.path)
                .limit(n)
            ).scalars()
        )

    def _read_link(self, repository: Repository, digest: Digest) -> Descriptor | None:
        return self._linked(self._repository(repository), digest)

    def _linked(self, repository: int | None, digest: Digest) -> Descriptor | None:
        where = schema.link.c
        row = self._connection.execute(
            select(where.media_type, where.size).where(
                where.repository == repository, where.digest == str(digest)
            )
        ).first()
        return None if row is None else Descriptor(media_type=row.media_type, digest=digest, size=row.size)

    def _write_links(self, repository: Repository, content: Sequence[Descriptor]) -> list[Descriptor]:
        owner = self._made_repository(repository)
        kept = [merged(self._linked(owner, each.digest), each) for each in content]
        for each in kept:
            values = {"media_type": each.media_type, "size": each.size}
            self._connection.execute(
                upsert(schema.link)
                .values(repository=owner, digest=str(each.digest), **values)
                .on_conflict_do_update(index_elements=["repository", "digest"], set_=values)
            )
        return kept


@asynccontextmanager
async def open_metadata(state: Path) -> AsyncIterator[SqlMetadata]:
    """Open ``<state>/metadata.db``, making it where it is missing.

    Raises LocalError, with the way out, for a file that is corrupt, locked, unwritable, or of a later
    release.
    """
    path = state / FILE
    subject = f"metadata database {path}"

    def begin() -> tuple[Engine, Connection]:
        engine = _engine(path)
        try:
            connection = engine.connect()
            with connection.begin():
                _prepare(connection, subject)
        except BaseException:
            engine.dispose()
            raise
        return engine, connection

    def end(engine: Engine, connection: Connection) -> None:
        connection.close()
        engine.dispose()

    try:
        engine, connection = await trio.to_thread.run_sync(begin)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _mapped(subject, error) from error
    try:
        yield SqlMetadata(connection, subject)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(end, engine, connection)


def _engine(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        # Autocommit: SQLAlchemy's begin is answered below with BEGIN IMMEDIATE, so that no transaction
        # begins as a reader and fails as a writer. The worker's limiter takes the place of the check for
        # one thread.
        raw = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-2000"):
                raw.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            raw.close()
            raise
        return raw

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    event.listen(engine, "begin", lambda connection: connection.execute(text("BEGIN IMMEDIATE")))
    return engine


def _prepare(connection: Connection, subject: str) -> None:
    schema.tables.create_all(connection)
    found = connection.execute(select(schema.schema_version.c.version)).scalar()
    if found is None:
        connection.execute(insert(schema.schema_version).values(version=schema.VERSION))
    elif found != schema.VERSION:
        raise LocalError(
            subject,
            f"its schema is version {found} and this release knows version {schema.VERSION}",
            f"Run the release that wrote it. {_ASIDE}",
        )


def _mapped(subject: str, error: Exception) -> LocalError:
    cause = getattr(error, "orig", None) or error
    said = str(cause)
    if "locked" in said:
        return LocalError(subject, said, "Another node uses the same state directory: give each its own")
    if "disk is full" in said:
        return StoreFullError(subject, said, "Free space on its filesystem")
    if "not a database" in said or "malformed" in said or "no such column" in said:
        return LocalError(subject, f"it is corrupt ({said})", _ASIDE)
    return LocalError(subject, said, "Check that the directory exists and can be written")
