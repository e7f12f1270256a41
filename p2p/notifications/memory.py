"""The queue of notifications in memory: for tests, and for nodes that keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2p.notifications.api import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from p2p.notifications.api import Happening


class MemoryQueue:
    """``Queue`` in a list, forgotten with the process. ``clock`` gives aware times."""

    def __init__(self, *, max_events: int, max_age: timedelta, clock: Callable[[], datetime]) -> None:
        self._max_events = max_events
        self._max_age = max_age
        self._clock = clock
        self._events: list[tuple[datetime, Event]] = []
        self._confirmed: dict[str, int] = {}
        self._news = trio.Event()
        self._last = 0

    @property
    def last(self) -> int:
        """``Queue.last``."""
        return self._last

    async def append(self, happenings: Sequence[Happening]) -> None:
        """``Queue.append``."""
        for happening in happenings:
            self._last += 1
            self._events.append((self._clock(), Event(self._last, f"event-{self._last}", happening)))
        self._trim()
        self._news.set()
        self._news = trio.Event()

    async def read(self, after: int, n: int) -> Sequence[Event]:
        """``Queue.read``."""
        self._trim()
        return [event for _, event in self._events if event.number > after][:n]

    async def begin(self, consumer: str) -> tuple[int, bool]:
        """``Queue.begin``."""
        new = consumer not in self._confirmed
        return self._confirmed.setdefault(consumer, self._last), new

    async def confirm(self, consumer: str, number: int) -> None:
        """``Queue.confirm``."""
        self._confirmed[consumer] = number

    async def wait(self, after: int) -> None:
        """``Queue.wait``."""
        while self._last <= after:
            await self._news.wait()

    def _trim(self) -> None:
        oldest = self._clock() - self._max_age
        self._events = [one for one in self._events[-self._max_events :] if one[0] >= oldest]
