"""Time: what is to happen, in order, and a digest of what happened."""

from __future__ import annotations

import heapq
import struct
import zlib
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]

_ENTRY = struct.Struct("<dHII")

SLICES = 1000
"""Slices of a second: what is due in a later one is put in order when its slice comes, in small heaps."""


class Heap:
    """A clock that jumps from event to event. Ties are broken by order of entry, so a run replays exactly."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._entries: list[Entry] = []
        """A heap of what is due in this slice, or was due before."""
        self._slice = -(1 << 62)
        self._later: dict[int, list[Entry]] = {}
        self._slices: list[int] = []
        """A heap of the keys of ``_later``."""
        self._order = 0
        self._digest = 0

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        """Have ``call(*args)`` happen at ``when``, at once where that has passed; infinity is never."""
        if when == inf:
            return
        self._order += 1
        if when < self.now:
            when = self.now
        entry = when, self._order, call, args
        number = int(when * SLICES)
        if number <= self._slice:
            heapq.heappush(self._entries, entry)
        elif (later := self._later.get(number)) is not None:
            later.append(entry)
        else:
            self._later[number] = [entry]
            heapq.heappush(self._slices, number)

    def run(self, until: float, ended: Callable[[], bool]) -> None:
        """Let things happen until ``ended`` says so, or nothing is left, or it is ``until`` (seconds)."""
        pop = heapq.heappop
        while self._entries or self._slices:
            if not self._entries:
                self._slice = pop(self._slices)
                self._entries = self._later.pop(self._slice)
                heapq.heapify(self._entries)
            entries = self._entries
            while entries:
                if ended():
                    return
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
