"""The random source that a core is handed: ``random.Random`` fits."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """What the core draws from."""

    def random(self) -> float:
        """Give a float in [0, 1)."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Give an integer in [0, stop)."""
        ...
