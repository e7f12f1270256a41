"""The last answers, in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Hot(Generic[K, V]):
    """The last answers, at most ``room`` of them; 0 keeps nothing."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Give what is kept, and keep it longer."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep what was written, in place of what was."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._room:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget what is no longer so."""
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def fill(self, key: K, value: V) -> V:
        """Keep what was read, unless a write that ended meanwhile has left something newer."""
        newer = self._kept.get(key)
        if newer is not None:
            return newer
        self.put(key, value)
        return value
