"""The durable queue: events in ``notifications.db``, and how far each consumer has got.

A push waits for one small transaction here and for nobody's network. The file is bounded: the oldest events
go where there are too many or they are too old, delivered or not; a consumer sees the gap in the numbers.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.errors import LocalError
from p2p.notifications import record
from p2p.notifications.api import Event
from p2p.sqlite import open_database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from p2p.notifications.api import Happening
    from p2p.sqlite import Database

log = structlog.get_logger(__name__)

FILE: Final = "notifications.db"
VERSION: Final = 1
SCHEMA: Final = (
    # AUTOINCREMENT: a number is never used twice, even after all events have gone.
    """CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL
    )""",
    "CREATE INDEX event_at ON event (at)",
    "CREATE TABLE consumer (name TEXT PRIMARY KEY, confirmed INTEGER NOT NULL) WITHOUT ROWID",
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class EventQueue:
    """``Queue`` in a file; made by ``open_queue``."""

    def __init__(
        self,
        database: Database,
        *,
        last: int,
        max_events: int,
        max_age: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._last = last
        self._max_events = max_events
        self._max_age = max_age
        self._clock = clock
        self._news = trio.Event()

    @property
    def last(self) -> int:
        """``Queue.last``."""
        return self._last

    async def append(self, happenings: Sequence[Happening]) -> None:
        """``Queue.append``."""
        if not happenings:
            return
        now = self._now()
        rows = [(str(uuid.uuid4()), now, record.dump(happening)) for happening in happenings]

        def write(connection: sqlite3.Connection) -> int:
            connection.executemany("INSERT INTO event (id, at, body) VALUES (?, ?, ?)", rows)
            (last,) = connection.execute("SELECT max(number) FROM event").fetchone()
            connection.execute("DELETE FROM event WHERE number <= ?", (last - self._max_events,))
            self._expire(connection, now)
            return int(last)

        self._last = max(self._last, await self._database.do(write))
        self._news.set()
        self._news = trio.Event()

    async def read(self, after: int, n: int) -> Sequence[Event]:
        """``Queue.read``. An event whose record is damaged is as good as gone."""
        now = self._now()

        def find(connection: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
            self._expire(connection, now)
            return connection.execute(
                "SELECT number, id, body FROM event WHERE number > ? ORDER BY number LIMIT ?", (after, n)
            ).fetchall()

        events = []
        for number, identity, body in await self._database.do(find):
            try:
                events.append(Event(number, identity, record.load(body)))
            except LocalError as error:
                log.warning("a notification is lost", number=number, cause=str(error))
        return events

    async def begin(self, consumer: str) -> tuple[int, bool]:
        """``Queue.begin``."""

        def find(connection: sqlite3.Connection) -> tuple[int, bool]:
            row = connection.execute("SELECT confirmed FROM consumer WHERE name = ?", (consumer,)).fetchone()
            if row is not None:
                return int(row[0]), False
            last = _last(connection)
            connection.execute("INSERT INTO consumer VALUES (?, ?)", (consumer, last))
            return last, True

        return await self._database.do(find)

    async def confirm(self, consumer: str, number: int) -> None:
        """``Queue.confirm``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO consumer VALUES (?, ?)", (consumer, number))

        await self._database.do(write)

    async def wait(self, after: int) -> None:
        """``Queue.wait``."""
        while self._last <= after:
            await self._news.wait()

    def _now(self) -> int:
        return (self._clock() - _EPOCH) // _SECOND

    def _expire(self, connection: sqlite3.Connection, now: int) -> None:
        connection.execute("DELETE FROM event WHERE at < ?", (now - self._max_age // _SECOND,))


def _last(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return 0 if row is None else int(row[0])


@asynccontextmanager
async def open_queue(
    state: Path, *, max_events: int, max_age: timedelta, clock: Callable[[], datetime]
) -> AsyncIterator[EventQueue]:
    """Open ``<state>/notifications.db``, making it where it is missing; see ``open_database`` for errors."""
    async with open_database(
        state / FILE,
        SCHEMA,
        version=VERSION,
        what="notification queue",
        aside="The node can be stopped and the file moved aside: events that nobody got yet are lost",
        synchronous="FULL",  # an event is as durable as the push that it tells of
    ) as database:
        last = await database.do(_last)
        yield EventQueue(database, last=last, max_events=max_events, max_age=max_age, clock=clock)
