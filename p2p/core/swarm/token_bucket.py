"""A token bucket: a rate with a burst, as a pure policy."""

from __future__ import annotations


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` kept. ``now`` is passed in, in seconds."""

    __slots__ = ("_level", "_now", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("rate and burst must be positive")
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._now = now

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` and give the seconds to wait before acting on it, 0 where there was enough.

        The level may go below zero: whoever takes waits for his own debt, so that amounts above the
        burst pass too, at the rate.
        """
        self._level = min(self.burst, self._level + (now - self._now) * self.rate)
        self._now = now
        self._level -= amount
        return max(0.0, -self._level / self.rate)
