"""When a swarm that gets nowhere asks discovery again, and when it stops waiting for others."""

from __future__ import annotations

SEEK_EVERY = 0.5
"""Least seconds between two questions to discovery."""

STALL = 2.0
"""Seconds without progress before discovery is asked again, with those that failed us named."""

PATIENCE = 12.0
"""Seconds without progress before the origin is asked without a lease: nobody waits for ever."""


class Patience:
    """Times of the last progress and the last question, in seconds of the caller's clock.

    ``hope``: when something came that may lead to progress (a list, the disk's word) and deserves a while.
    """

    __slots__ = ("hope", "progress", "sought")

    def __init__(self) -> None:
        self.hope = 0.0
        self.progress = 0.0
        self.sought = float("-inf")

    def due(self, *, alone: bool) -> float:
        """When it is time to ask again, or to lose patience; ``alone``: nobody could bring progress."""
        # Twice after each event, so without calls.
        again = self.sought + SEEK_EVERY
        if alone:
            return again
        wait = self.progress + PATIENCE
        stall = max(self.progress, self.hope) + STALL
        if self.sought < stall < wait:
            wait = stall
        return max(wait, again)

    def stalled(self, now: float) -> bool:
        """Whether nothing came for a while."""
        return now >= max(self.progress, self.hope) + STALL

    def over(self, now: float) -> bool:
        """Whether it has taken too long."""
        return now >= self.progress + PATIENCE
