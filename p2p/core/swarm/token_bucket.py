"""A rate that holds over any window: what may be taken now, and how long the next one waits. Pure.

It remembers one moment: when it would be full again if nobody took anything. That moment moves by what is
taken, never by when a taker wakes up, so that nothing drifts.
"""

from __future__ import annotations


class TokenBucket:
    """``rate`` bytes a second (above 0), of which up to ``burst`` may be saved up; full at first.

    Over any window of t seconds no more than ``rate * t + burst`` bytes are granted, where no taker asks for
    more than ``burst`` at once. Who does waits for a full bucket, and those after it pay the rest: then the
    largest such request takes the place of ``burst``.
    """

    __slots__ = ("_full_at", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"a bucket of {burst} bytes with {rate} bytes a second lets nothing through")
        self.rate = rate
        self.burst = burst
        self._full_at = float("-inf")

    def delay(self, size: float, now: float) -> float:
        """Seconds until ``size`` bytes could be taken, 0 for now; takes nothing."""
        spare = self.burst - min(size, self.burst)
        return max(0.0, self._full_at - spare / self.rate - now)

    def take(self, size: float, now: float) -> float:
        """Take ``size`` bytes; gives the seconds to wait before they are used. First come, first served."""
        wait = self.delay(size, now)
        self._full_at = max(self._full_at, now + wait) + size / self.rate
        return wait

    def change(self, rate: float, now: float) -> None:
        """Go on with another rate, from ``now`` on: what was taken already is owed in bytes, not seconds."""
        if rate <= 0:
            raise ValueError(f"{rate} bytes a second lets nothing through")
        owed = max(0.0, self._full_at - now) * self.rate
        self.rate = rate
        self._full_at = now + owed / rate
