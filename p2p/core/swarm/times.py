"""How long requests took lately, in order: what is usual, what is late; of one swarm, and of all of a node.

A small blob is here before it has learned how long its own requests take. Beside many others they take long,
for all share the links; who then takes its first ones for late asks for everything twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

SAMPLES = 64

KNOWN = 4
"""Requests that must have ended before it is known how long they take."""


class Times:
    """Seconds per chunk of the last ``SAMPLES`` requests."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._latest)

    @property
    def known(self) -> bool:
        """Whether there are enough to go by."""
        return len(self._latest) >= KNOWN

    @property
    def median(self) -> float:
        """What one takes in the middle."""
        return self._sorted[len(self._sorted) // 2]

    @property
    def most(self) -> float:
        """The 95th percentile."""
        return self._sorted[min(len(self._sorted) - 1, int(0.95 * len(self._sorted)))]

    def add(self, seconds: float) -> None:
        """Count one."""
        self._latest.append(seconds)
        insort(self._sorted, seconds)
        if len(self._latest) > SAMPLES:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]


class NodeTimes:
    """The times of all swarms of one node, by the size of their chunks."""

    def __init__(self) -> None:
        self._by_chunk: dict[int, Times] = {}

    def of(self, chunk: int) -> Times:
        """Give those of requests for chunks of ``chunk`` bytes, to be added to."""
        return self._by_chunk.setdefault(chunk, Times())
