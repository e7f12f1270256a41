"""When a swarm that gets nowhere asks discovery again, and when it stops waiting for others."""

from __future__ import annotations

SEEK_EVERY = 0.5
"""Least seconds between two questions to discovery."""

STALL = 2.0
"""Seconds without progress before discovery is asked again, with those that failed us named."""

PATIENCE = 12.0
"""Seconds without progress before the origin is asked without a lease: nobody waits for ever."""

USUAL = 16
MOST = 60.0
"""Where progress is slow, patience lasts for so many times the usual wait for it, and at most so long."""

STALLED = 2
"""Where it is slow, so many times the usual wait for it are a stall."""

FLOWING = 45.0
"""Seconds for which bytes that come count as progress though no chunk is verified: on a link of 7 Mbit/s
eight chunks of 4 MiB that come side by side take so long. More, and who drips could keep a swarm waiting."""


class Patience:
    """Times of the last progress and the last question, in seconds of the caller's clock.

    ``progress``: when the last chunk was verified, or something else went on. ``hope``: when something came
    that may lead to progress (a list, the disk's word) and deserves a while. ``held``: a tracker sees to it
    that another node streams it, so patience lasts ``FLOWING`` seconds this time.
    """

    __slots__ = ("_flowed", "_usual", "held", "hope", "progress", "sought")

    def __init__(self) -> None:
        self._flowed = float("-inf")
        self._usual = 0.0
        self.held = False
        self.hope = 0.0
        self.progress = 0.0
        self.sought = float("-inf")

    def gained(self, now: float) -> None:
        """Chunks were verified."""
        self._usual += (now - self.progress - self._usual) / 8
        self.held = False
        self.progress = now

    def flowed(self, now: float) -> None:
        """Bytes came that are no verified chunk yet."""
        self._flowed = now

    @property
    def last(self) -> float:
        """When there was progress last, bytes included."""
        return max(self.progress, min(self._flowed, self.progress + FLOWING))

    def due(self, *, alone: bool) -> float:
        """When it is time to ask again, or to lose patience; ``alone``: nobody could bring progress."""
        # Twice after each event, so without calls.
        again = self.sought + SEEK_EVERY
        if alone:
            return again
        last = self.last
        wait = self._ends(last)
        stall = self._stalls(last)
        if self.sought < stall < wait:
            wait = stall
        return max(wait, again)

    def stalled(self, now: float) -> bool:
        """Whether nothing came for a while."""
        return now >= self._stalls(self.last)

    def over(self, now: float) -> bool:
        """Whether it has taken too long."""
        return now >= self._ends(self.last)

    def _stalls(self, last: float) -> float:
        return max(last, self.hope) + max(STALL, STALLED * self._usual)

    def _ends(self, last: float) -> float:
        end = last + min(MOST, max(PATIENCE, USUAL * self._usual))
        if self.held:
            end = max(end, min(last, self.progress + PATIENCE) + FLOWING)
        return end
