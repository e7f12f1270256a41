"""The lookups of a node: those that run, each within its budget, and those that wait for their turn."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from p2p.core.dht.events import Discovered, Ended, Provide, Seek

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2p.core.dht.contact import Contact
    from p2p.core.dht.events import Action
    from p2p.core.dht.lookup import Lookup
    from p2p.core.dht.messages import Held

AT_ONCE: Final = 32
"""Lookups that run, each with three requests under way: a socket holds the answers of no more."""
WAITING: Final = 4096
BUDGET: Final = 1.0
"""Seconds of one lookup, from its start."""
PUT_BUDGET: Final = 2.0


@dataclass(slots=True)
class Search:
    """One lookup that runs; for a ``Provide`` the puts that follow it."""

    event: Seek | Provide
    lookup: Lookup
    started: float
    puts: set[bytes] = field(default_factory=set)
    """Nodes that were sent the record and have not answered."""
    stored: int = 0
    putting: bool = False

    @property
    def until(self) -> float:
        """When it ends at the latest."""
        return self.started + (PUT_BUDGET if self.putting else BUDGET)


class Searches:
    """All of them by their number."""

    def __init__(self, begin: Callable[[Seek | Provide, float], Lookup]) -> None:
        self._begin = begin
        self.running: dict[int, Search] = {}
        self._waiting: deque[Seek | Provide] = deque()
        self._changed: dict[int, None] = {}
        self._ends: list[tuple[float, int]] = []

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, event: Seek | Provide, out: list[Action]) -> None:
        """Take a lookup; one too many ends at once."""
        if len(self._waiting) >= WAITING:
            out.append(Ended(event.lookup, 0, 0.0, 0))
            return
        self._waiting.append(event)

    def drop(self, number: int) -> None:
        """Nobody waits for it."""
        self.running.pop(number, None)
        self._waiting = deque(event for event in self._waiting if event.lookup != number)

    def start(self, now: float) -> list[Search]:
        """Start what waits while there is room; gives what was started."""
        fresh: list[Search] = []
        while self._waiting and len(self.running) < AT_ONCE:
            event = self._waiting.popleft()
            search = self.running[event.lookup] = Search(event, self._begin(event, now), now)
            self._changed[event.lookup] = None
            heapq.heappush(self._ends, (search.until, event.lookup))
            fresh.append(search)
        return fresh

    def answered(
        self, number: int, node: bytes, contacts: Iterable[Contact], records: Iterable[Held]
    ) -> Discovered | None:
        """A node answered for a lookup; gives what is new."""
        search = self.running.get(number)
        if search is None:
            return None
        self._changed[number] = None
        fresh = search.lookup.on_success(node, contacts, records)
        return Discovered(number, tuple(fresh)) if fresh else None

    def late(self, number: int, node: bytes) -> None:
        """A node takes its time."""
        search = self.running.get(number)
        if search is not None:
            self._changed[number] = None
            search.lookup.on_late(node)

    def failed(self, number: int, node: bytes) -> None:
        """A node did not answer a question, or a put."""
        search = self.running.get(number)
        if search is not None:
            self._changed[number] = None
            search.puts.discard(node)
            search.lookup.on_failure(node)

    def stored(self, number: int, node: bytes) -> None:
        """A node took the record."""
        search = self.running.get(number)
        if search is not None and node in search.puts:
            self._changed[number] = None
            search.puts.remove(node)
            search.stored += 1

    def changed(self, now: float) -> list[Search]:
        """Give those to be looked at: something came for them, or they are out of time."""
        numbers, self._changed = self._changed, {}
        while (end := self.next_deadline()) is not None and end <= now:
            numbers[heapq.heappop(self._ends)[1]] = None
        return [self.running[number] for number in numbers if number in self.running]

    def begin_puts(self, search: Search) -> None:
        """The nearest nodes are known: its time now is that of the puts."""
        search.putting = True
        heapq.heappush(self._ends, (search.until, search.event.lookup))

    def end(self, search: Search, now: float) -> Ended:
        """It is over."""
        number = search.event.lookup
        del self.running[number]
        count = search.stored if search.putting else len(search.lookup.records)
        return Ended(number, count, now - search.started, search.lookup.queries)

    def next_deadline(self) -> float | None:
        """When the first one is out of time."""
        while self._ends:
            end, number = self._ends[0]
            search = self.running.get(number)
            if search is not None and search.until == end:
                return end
            heapq.heappop(self._ends)  # ended before its time, or given more of it
        return None
