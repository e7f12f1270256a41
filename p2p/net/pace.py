"""Minimum pace of a client: how long we wait for it, against what it moves. Pure: reads no clock."""

from __future__ import annotations


class Pace:
    """Decides whether a client that we wait for is too slow.

    Only time spent waiting for the client counts, never the time that we need ourselves. A client is too
    slow when nothing moved during ``timeout`` seconds of waiting, or when fewer than ``rate`` bytes a
    second moved on average over ``timeout`` seconds of waiting.
    """

    __slots__ = ("_base", "_pause", "_rate", "_seen", "_timeout", "_waited")

    def __init__(self, timeout: float, rate: int) -> None:
        self._timeout = timeout
        self._rate = rate
        self._waited = 0.0
        self._pause = 0.0
        self._base = 0
        self._seen = 0

    def allowance(self) -> float:
        """Seconds that the next wait may last before ``waited`` must be told."""
        return self._timeout - max(self._waited, self._pause)

    def waited(self, seconds: float, moved: int) -> bool:
        """Count a wait. ``moved`` is the total of bytes so far; False: the client is too slow."""
        self._waited += seconds
        if moved > self._seen:
            self._seen = moved
            self._pause = 0.0
        else:
            self._pause += seconds
            if self._pause >= self._timeout:
                return False
        if self._waited >= self._timeout:
            if moved - self._base < self._rate * self._timeout:
                return False
            self._waited = 0.0
            self._base = moved
        return True
