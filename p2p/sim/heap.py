"""Time: what is to happen, in order, and a digest of what happened."""

from __future__ import annotations

import heapq
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_ENTRY = struct.Struct("<dHII")


class Heap:
    """A clock that jumps from event to event. Ties are broken by order of entry, so a run replays exactly."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._entries: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._digest = 0

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        """Have ``call(*args)`` happen at ``when``, at once where that has passed."""
        self._order += 1
        if when < self.now:
            when = self.now
        heapq.heappush(self._entries, (when, self._order, call, args))

    def run(self, until: float, ended: Callable[[], bool]) -> None:
        """Let things happen until ``ended`` says so, or nothing is left, or it is ``until`` (seconds)."""
        entries, pop = self._entries, heapq.heappop
        while entries and not ended():
            when, _, call, args = pop(entries)
            if when > until:
                self.now = until
                return
            self.now = when
            self.events += 1
            call(*args)

    def log(self, kind: int, node: int, what: int) -> None:
        """Add to the digest: ``kind`` of happening (16 bits), which node, and a number for the thing."""
        self._digest = zlib.crc32(_ENTRY.pack(self.now, kind, node, what), self._digest)

    @property
    def digest(self) -> str:
        """Eight hex digits that are the same for two runs in which the same happened at the same times."""
        return f"{self._digest:08x}"
