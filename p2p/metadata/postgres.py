"""PostgreSQL, shared by several front ends: a small pool, row locks, and another try after a conflict."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from p2p.errors import ConfigError, LocalError
from p2p.metadata.database import ConflictError
from p2p.metadata.upgrade import current, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.engine import URL, Connection, Engine

CONNECTIONS: Final = 4
TRIES: Final = 8
"""Of one transaction, until a conflict with others is an error."""
CONNECT_SECONDS: Final = 10
LOCK_MILLISECONDS: Final = 20_000

_AGAIN: Final = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock detected
        "23503",  # a repository that was there when we looked was dropped, or the other way round
        "23505",  # the same row was made by two at once
    }
)
_UPGRADE_LOCK: Final = 0x52454D4F5241
"""Key of the advisory lock under which tables are made; "REMORA" as a number."""
_COLLECT_LOCK: Final = _UPGRADE_LOCK + 1
"""Of the session of the front end that reviews and deletes."""

T = TypeVar("T")


class Shared:
    """``Database`` on a server; made by ``open_postgres``."""

    shared = True

    def __init__(self, engine: Engine, subject: str) -> None:
        self._engine = engine
        self._subject = subject
        self._workers = trio.CapacityLimiter(CONNECTIONS)
        self._collector = trio.CapacityLimiter(1)
        self._collecting: Connection | None = None

    async def do(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run ``work`` in a worker thread as one transaction, again where another one came between."""
        del durable  # the server's own setting says when a commit is

        def transaction() -> T:
            for _ in range(TRIES - 1):
                try:
                    return self._once(work)
                except ConflictError:
                    continue
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) not in _AGAIN:
                        raise
            return self._once(work)

        try:
            return await trio.to_thread.run_sync(transaction, limiter=self._workers)
        except (SQLAlchemyError, ConflictError) as error:
            raise mapped(self._subject, error) from error

    async def collects(self) -> bool:
        """Whether this is the front end that deletes: it holds a lock as long as its session lives."""
        try:
            return await trio.to_thread.run_sync(self._collects, limiter=self._collector)
        except SQLAlchemyError as error:
            raise mapped(self._subject, error) from error

    def _collects(self) -> bool:
        if self._collecting is not None:
            try:
                self._collecting.execute(text("SELECT 1"))
            except SQLAlchemyError:  # the session is gone, and its lock with it: begin anew
                self._collecting.invalidate()
                self._collecting.close()
                self._collecting = None
            else:
                return True
        session: Connection | None = self._engine.connect()
        assert session is not None
        session = session.execution_options(isolation_level="AUTOCOMMIT")
        try:
            locked = session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _COLLECT_LOCK})
            if locked.scalar():
                self._collecting, session = session, None
        finally:
            if session is not None:
                session.close()
        return self._collecting is not None

    def close(self) -> None:
        """Give up the lock and every connection."""
        if self._collecting is not None:
            self._collecting.invalidate()  # back in the pool it would keep the lock
            self._collecting.close()
        self._engine.dispose()

    def _once(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[Shared]:
    """Open the database at ``url``, making or upgrading its tables; see ``open_metadata``."""
    target = _target(url)
    subject = f"metadata database {target.set(query={}).render_as_string(hide_password=True)}"

    def begin() -> Engine:
        engine = _engine(target)
        try:
            with engine.connect() as connection:
                ready = current(connection, subject)
            if not ready:
                with engine.begin() as connection:
                    # Two front ends may start at once: the second finds what the first has made.
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
                    prepare(connection, subject)
        except BaseException:
            engine.dispose()
            raise
        return engine

    try:
        engine = await trio.to_thread.run_sync(begin)
    except SQLAlchemyError as error:
        raise mapped(subject, error) from error
    shared = Shared(engine, subject)
    try:
        yield shared
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(shared.close)


def _target(url: str) -> URL:
    mend = "Give postgresql://user:password@host:5432/database, or nothing for a file of the node's own"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("metadata.url", "it is not a URL", mend) from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ConfigError("metadata.url", f"{parsed.drivername} is not a kind of database that we know", mend)
    return parsed.set(drivername="postgresql+psycopg")


def _engine(target: URL) -> Engine:
    # READ COMMITTED: after a row is locked, the next question sees what was committed by whoever held it.
    return create_engine(
        target,
        isolation_level="READ COMMITTED",
        pool_size=CONNECTIONS + 1,  # and that of the collector
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "remora",
            # Those of the URL come after and win.
            "options": f"-c lock_timeout={LOCK_MILLISECONDS} {target.query.get('options', '')}".strip(),
        },
    )


def mapped(subject: str, error: Exception) -> LocalError:
    """Say what is wrong with the database and how to mend it; never its password."""
    if isinstance(error, ConflictError):
        return LocalError(subject, f"{TRIES} tries met other transactions", "Try again with less at once")
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().partition("\n")[0]
    return LocalError(subject, said, "Check that the server runs and that metadata.url names it rightly")
