"""What tags pointed to when an origin last confirmed it: the youngest word of any node, least used out."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from p2p.core.wire.tracker import ReferenceAnswer

if TYPE_CHECKING:
    from p2p.core.wire.tracker import AskReference, ReferenceSeen

CAPACITY = 10_000


class ReferenceTable:
    """Bounded by ``capacity`` tags."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, str], tuple[float, ReferenceSeen]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def see(self, seen: ReferenceSeen, now: float) -> None:
        """Take a confirmation, unless a younger one is known."""
        key = (seen.repository, seen.reference)
        when = now - seen.age
        before = self._known.get(key)
        if before is None or when >= before[0]:
            self._known[key] = (when, seen)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def answer(self, ask: AskReference, now: float) -> ReferenceAnswer:
        """Answer with the youngest, aged to now; with no digest where nothing is known."""
        key = (ask.repository, ask.reference)
        if key not in self._known:
            return ReferenceAnswer(ask.request)
        self._known.move_to_end(key)
        when, seen = self._known[key]
        return ReferenceAnswer(ask.request, seen.digest, seen.media_type, seen.size, max(0.0, now - when))
