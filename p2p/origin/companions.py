"""Whether several connections to one upstream bring more than one: tried, and measured. Pure: reads no clock.

Where an upstream throttles each connection, or is far away, two are twice as fast as one. Where the line
itself is what is slow they bring nothing, and the stream comes in lumps: all of them fill the line, and the
reader waits for the first of them.
"""

from __future__ import annotations

GAIN = 1.25
"""How much faster twice as many connections must be."""

MEASURED = 2.0
"""Times the patience over which a step is measured, after as much as the patience itself for its start."""


class Companions:
    """How many connections may be open: ``most`` at last, as long as each step is worth it.

    ``patience`` in seconds; 0: nothing is measured, all are used.
    """

    __slots__ = ("_before", "_bytes", "_from", "_most", "_patience", "_settled", "connections")

    def __init__(self, most: int, patience: float) -> None:
        self.connections = 1
        self._most = most
        self._patience = patience
        self._settled = False
        self._before = 0.0
        self._from = 0.0
        self._bytes = 0

    def begin(self, rate: float, now: float) -> None:
        """One connection alone gave ``rate`` bytes a second: try more."""
        self._before = rate
        self._settled = False
        self._step(2 if self._patience else self._most, now)

    def arrived(self, size: int, now: float) -> bool:
        """Count bytes of whichever connection; True where their number may have changed."""
        if self._settled or self.connections == 1 or now < self._from:
            return False
        self._bytes += size
        elapsed = now - self._from
        if elapsed < MEASURED * self._patience:
            return False
        rate = self._bytes / elapsed
        if rate < GAIN * self._before:
            self.connections //= 2
            self._settled = True
        else:
            self._before = rate
            self._step(2 * self.connections, now)
        return True

    def _step(self, connections: int, now: float) -> None:
        self._settled = not self._patience or self.connections >= self._most
        self.connections = min(connections, self._most)
        self._from, self._bytes = now + self._patience, 0
