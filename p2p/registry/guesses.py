"""How many wrong passwords a client may try before the upstream is not asked for it any more. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST: Final = 60
"""Wrong ones within ``WINDOW``: more than a host has that pulls many images with a stale password."""
WINDOW: Final = 60.0
REMEMBERED: Final = 4096


class Guesses:
    """Wrong passwords by client, each in a window that begins with its first one. Times are seconds."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def allowed(self, client: str, now: float) -> bool:
        """Whether a client may try yet another one."""
        count, until = self._wrong.get(client, (0, now))
        return now >= until or count < MOST

    def wrong(self, client: str, now: float) -> None:
        """It was wrong."""
        count, until = self._wrong.get(client, (0, now))
        self._wrong[client] = (count + 1, until) if now < until else (1, now + WINDOW)
        self._wrong.move_to_end(client)
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
