"""Whose turn it is among many that share one rate: by key, each as many bytes as any other. Pure.

Self-clocked fair queueing (Golestani, 1994): each request ends at a virtual time, its key's last end or the
clock's plus its size; the earliest end is next, and the clock is the end of who was served last. A small
request under a new key overtakes the large ones that wait; under one key the order is that of arrival.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

REMEMBERED = 1024
"""Keys before those that have nothing ahead of the clock are forgotten."""


@dataclass(order=True, slots=True)
class _Waiting(Generic[Item]):
    end: float
    number: int
    item: Item = field(compare=False)


class FairQueue(Generic[Item]):
    """Items that wait, each known by identity."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting[Item]] = []
        self._ends: dict[Hashable, float] = {}
        self._clock = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, key: Hashable, size: float, item: Item) -> None:
        """Queue an item that asks for ``size`` bytes on behalf of ``key``."""
        if len(self._ends) >= REMEMBERED:
            self._ends = {name: end for name, end in self._ends.items() if end > self._clock}
        end = self._ends[key] = max(self._clock, self._ends.get(key, 0.0)) + size
        self._number += 1
        insort(self._waiting, _Waiting(end, self._number, item))

    def first(self) -> Item | None:
        """Give the one whose turn it is."""
        return self._waiting[0].item if self._waiting else None

    def leave(self, item: Item, *, served: bool) -> None:
        """Take an item out: it was ``served``, or it gave up."""
        for at, one in enumerate(self._waiting):
            if one.item is item:
                del self._waiting[at]
                if served:
                    self._clock = max(self._clock, one.end)
                return
