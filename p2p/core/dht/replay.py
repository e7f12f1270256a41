"""Which datagrams were seen already, in bounded memory: a window that closes early where it would overflow.

Nonces are kept by the second that they claim to be sent in. Where there are more than fit, the oldest
seconds are forgotten, and from then on nothing as old as them is taken any more: memory stays bounded, no
replay gets through, and only a node whose clock is behind suffers, while the load lasts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WINDOW: Final = 30.0
"""Seconds that a sender's clock may be off, either way."""
CAPACITY: Final = 65536


class ReplayWindow:
    """At most ``capacity`` nonces of the last minute. Times are seconds of Unix time."""

    def __init__(self, *, window: float = WINDOW, capacity: int = CAPACITY) -> None:
        self._window = window
        self._capacity = capacity
        self._seconds: OrderedDict[int, set[bytes]] = OrderedDict()
        self._count = 0
        self._floor = self._expired = float("-inf")

    def __len__(self) -> int:
        return self._count

    def fresh(self, sent: float, wall: float) -> bool:
        """Whether a datagram sent then may still be looked at. Costs nothing, so it comes first."""
        return sent > self._floor and abs(sent - wall) <= self._window

    def add(self, nonce: bytes, sent: float, wall: float) -> bool:
        """Note an authenticated datagram; False where it was seen before or came too late to tell."""
        if not self.fresh(sent, wall):
            return False
        self._expire(wall)
        second = int(sent)
        seen = self._seconds.setdefault(second, set())
        if nonce in seen:
            return False
        seen.add(nonce)
        self._count += 1
        while self._count > self._capacity:
            oldest = min(self._seconds)
            self._count -= len(self._seconds.pop(oldest))
            self._floor = max(self._floor, oldest + 1.0)
        return True

    def _expire(self, wall: float) -> None:
        if wall < self._expired + 1:
            return
        self._expired = wall
        gone = [second for second in self._seconds if second + 1 < wall - self._window]
        for second in gone:
            self._count -= len(self._seconds.pop(second))
