"""SQLite, embedded: one file in WAL mode, one connection, used by one worker thread at a time."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from p2p.errors import LocalError, StoreFullError
from p2p.metadata.upgrade import ASIDE, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.engine import Connection, Engine

FILE = "metadata.db"
BUSY_SECONDS = 5.0

T = TypeVar("T")


class Embedded:
    """``Database`` in one file; made by ``open_sqlite``."""

    shared = False

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self.worker = trio.CapacityLimiter(1)
        self._durable = False

    async def do(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run ``work`` in the worker thread as one transaction."""

        def transaction() -> T:
            if durable is not self._durable:
                self._set_durable(durable)
            with self._connection.begin():
                return work(self._connection)

        try:
            return await trio.to_thread.run_sync(transaction, limiter=self.worker)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise mapped(self._subject, error) from error

    async def collects(self) -> bool:
        """A file has one node: always."""
        return True

    def _set_durable(self, durable: bool) -> None:
        # In WAL mode NORMAL survives the death of the process, FULL a power cut too, at an fsync a commit.
        # The driver's own connection: SQLAlchemy's would begin a transaction, where it can't be changed.
        raw = self._connection.connection.driver_connection
        assert raw is not None
        raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._durable = durable


@asynccontextmanager
async def open_sqlite(state: Path) -> AsyncIterator[Embedded]:
    """Open ``<state>/metadata.db``, making or upgrading it where needed; see ``open_metadata``."""
    path = state / FILE
    subject = f"metadata database {path}"

    def begin() -> tuple[Engine, Connection]:
        engine = _engine(path)
        try:
            connection = engine.connect()
            with connection.begin():
                prepare(connection, subject)
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
        raise mapped(subject, error) from error
    embedded = Embedded(connection, subject)
    try:
        yield embedded
    finally:
        # Behind the work under way: SQLite crashes where one thread closes what another uses.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(end, engine, connection, limiter=embedded.worker)


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


def mapped(subject: str, error: Exception) -> LocalError:
    """Say what is wrong with the file and how to mend it."""
    cause = getattr(error, "orig", None) or error
    said = str(cause)
    if "locked" in said:
        return LocalError(subject, said, "Another node uses the same state directory: give each its own")
    if "disk is full" in said:
        return StoreFullError(subject, said, "Free space on its filesystem")
    if "not a database" in said or "malformed" in said or "no such column" in said:
        return LocalError(subject, f"it is corrupt ({said})", ASIDE)
    return LocalError(subject, said, "Check that the directory exists and can be written")
