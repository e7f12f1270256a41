"""Who holds and who wants a blob, in an order that plans take windows of: in the cluster, a zone, a rack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ring:
    """An ordered collection of node ids with constant-time add, discard and windows."""

    __slots__ = ("_index", "_items")

    def __init__(self) -> None:
        self._items: list[str] = []
        self._index: dict[str, int] = {}

    def add(self, item: str) -> bool:
        """Add at the end; False where it was there."""
        if item in self._index:
            return False
        self._index[item] = len(self._items)
        self._items.append(item)
        return True

    def discard(self, item: str) -> bool:
        """Take out (the last one moves into its place); False where it was not there."""
        place = self._index.pop(item, None)
        if place is None:
            return False
        last = self._items.pop()
        if last != item:
            self._items[place] = last
            self._index[last] = place
        return True

    def window(self, point: int, count: int) -> list[str]:
        """Give up to ``count`` items, beginning where ``point`` (32 bits) falls on the ring.

        The beginning moves smoothly as the ring grows, so that a node's window changes little.
        """
        length = len(self._items)
        start = point * length >> 32
        found = self._items[start : start + count]
        return found + self._items[: min(start, count - len(found))]

    def __contains__(self, item: str) -> bool:
        return item in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(slots=True, eq=False)
class Place:
    """One blob in one zone or rack: holders of all of it, of a part of it, and those who want it.

    ``crossed``: chunks that came in from other zones as far as was told, and ``begun``: when that count
    began, in seconds. ``mark``: chunks of the node that lets them in, when they were counted last.
    """

    complete: Ring = field(default_factory=Ring)
    partial: Ring = field(default_factory=Ring)
    waiting: Ring = field(default_factory=Ring)
    crossed: int = 0
    begun: float = float("-inf")
    mark: int = 0

    @property
    def idle(self) -> bool:
        """Whether nobody there has it and nobody wants it."""
        return not (len(self.waiting) or len(self.complete) or len(self.partial))


class Places:
    """The zones and racks of one blob, by name. Those without a holder and a wanter are forgotten."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def find(self, name: str) -> Place | None:
        """Give a zone or rack."""
        return self._places.get(name)

    def zones(self) -> list[str]:
        """Give the zones' names, in order of arrival."""
        return [name for name in self._places if "/" not in name]

    def holds(self, names: tuple[str, ...], node: str, *, complete: bool) -> None:
        """A node of these places has the blob, or a part of it."""
        for name in names:
            place = self._at(name)
            here, there = (place.complete, place.partial) if complete else (place.partial, place.complete)
            there.discard(node)
            here.add(node)

    def lacks(self, names: tuple[str, ...], node: str) -> None:
        """It has nothing of it now."""
        for name in names:
            place = self._at(name)
            place.complete.discard(node)
            place.partial.discard(node)
            self._drop_idle(name, place)

    def wants(self, names: tuple[str, ...], node: str) -> None:
        """It wants the blob."""
        for name in names:
            self._at(name).waiting.add(node)

    def unwants(self, names: tuple[str, ...], node: str) -> None:
        """It no longer does."""
        for name in names:
            place = self._at(name)
            place.waiting.discard(node)
            self._drop_idle(name, place)

    def _at(self, name: str) -> Place:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = Place()
        return place

    def _drop_idle(self, name: str, place: Place) -> None:
        if place.idle:
            del self._places[name]
