"""One SQLite file behind one worker thread: for what a node keeps beside its metadata.

Standard library only. Transactions begin with BEGIN IMMEDIATE, so that none begins as a reader and fails
as a writer.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from p2p.errors import LocalError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

BUSY_SECONDS = 5.0

T = TypeVar("T")


class Database:
    """An open file; made by ``open_database``."""

    def __init__(self, connection: sqlite3.Connection, subject: str, aside: str) -> None:
        self._connection = connection
        self._subject = subject
        self._aside = aside
        self._worker = trio.CapacityLimiter(1)
        self._closed = False

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the worker thread, in one transaction; LocalError where the database fails."""

        def transaction() -> T:
            if self._closed:
                raise LocalError(self._subject, "is closed", "The node is stopping")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            return result

        try:
            return await trio.to_thread.run_sync(transaction, limiter=self._worker)
        except sqlite3.Error as error:
            raise mapped(self._subject, error, self._aside) from error

    async def aclose(self) -> None:
        """Close it, behind the work under way: SQLite crashes where one thread closes what another uses.

        What comes later gets LocalError.
        """

        def close() -> None:
            self._closed = True
            self._connection.close()

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(close, limiter=self._worker)


@asynccontextmanager
async def open_database(
    path: Path,
    schema: Sequence[str],
    *,
    version: int,
    what: str,
    aside: str,
    synchronous: str = "NORMAL",
    disposable: bool = False,
) -> AsyncIterator[Database]:
    """Open the file at ``path``, and make its tables by ``schema`` where it is new.

    ``what`` names it in errors ("notification queue"), ``aside`` says what is lost where the file is moved
    aside. LocalError for a file that is corrupt, locked, unwritable, or of another ``version``; of an
    earlier one, where it is ``disposable``, it is emptied.
    """
    subject = f"{what} {path}"

    def begin() -> sqlite3.Connection:
        # The worker's limiter takes the place of the check for one thread.
        raw = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "cache_size=-2000"):
                raw.execute(f"PRAGMA {pragma}")
            if disposable:
                _empty(raw, version)
            _prepare(raw, schema, version, subject, aside)
        except BaseException:
            raw.close()
            raise
        return raw

    try:
        connection = await trio.to_thread.run_sync(begin)
    except sqlite3.Error as error:
        raise mapped(subject, error, aside) from error
    database = Database(connection, subject, aside)
    try:
        yield database
    finally:
        await database.aclose()


def _empty(connection: sqlite3.Connection, version: int) -> None:
    """Drop what an earlier version made: it is made anew."""
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if 0 < found < version:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        # Virtual ones first: they take their own tables with them.
        for name, _ in sorted(tables, key=lambda row: not str(row[1]).startswith("CREATE VIRTUAL")):
            if not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        connection.execute("PRAGMA user_version = 0")
    connection.execute("COMMIT")


def _prepare(
    connection: sqlite3.Connection, schema: Sequence[str], version: int, subject: str, aside: str
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        connection.execute("ROLLBACK")
        raise LocalError(
            subject,
            f"its schema is version {found} and this release knows version {version}",
            f"Run the release that wrote it. {aside}",
        )
    if not found:
        for statement in schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version:d}")
    connection.execute("COMMIT")


def mapped(subject: str, error: sqlite3.Error, aside: str) -> LocalError:
    """Give one of our errors for one of SQLite's."""
    said = str(error)
    if "locked" in said:
        return LocalError(subject, said, "Another node uses the same state directory: give each its own")
    if "disk is full" in said:
        return StoreFullError(subject, said, "Free space on its filesystem")
    if "not a database" in said or "malformed" in said:
        return LocalError(subject, f"it is corrupt ({said})", aside)
    return LocalError(subject, said, "Check that the directory exists and can be written")
