"""How fast a swarm receives, smoothed."""

from __future__ import annotations

SPAN = 0.25
"""Seconds over which bytes are counted before the rate follows."""


class Flow:
    """Bytes a second over the last moments; 0 before the first span is over."""

    __slots__ = ("_bytes", "_since", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._bytes = 0
        self._since: float | None = None

    def add(self, size: int, now: float) -> None:
        """``size`` more bytes have come."""
        if self._since is None:
            self._since = now
        self._bytes += size
        span = now - self._since
        if span >= SPAN:
            rate = self._bytes / span
            self.rate = rate if not self.rate else (self.rate + rate) / 2
            self._bytes, self._since = 0, now
