"""What tags pointed to when an origin last confirmed it, and which node asks the origin next.

Of all nodes that want to know a tag at once one is let to the origin, under a lease of ``PATIENCE`` seconds,
and its answer is given to the rest. A node may take an answer that is not older than it allows, or one to a
request that the origin was sent after the node's question: those who come while a request is under way wait
for the next one. Nobody depends on this: nodes that are not answered in time ask the origin themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2p.core.wire.tracker import ReferenceAnswer
from tracker.events import Send

if TYPE_CHECKING:
    from p2p.core.wire.tracker import AskReference, ReferenceSeen

CAPACITY = 10_000

PATIENCE = 1.5
"""Seconds for which one node may keep the others waiting."""

TURNS = 4_096
"""Tags that are asked for just now; further ones are everybody's own to ask."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Asker:
    conn: int
    ask: AskReference


@dataclass(slots=True)
class _Turn:
    """``holder`` asks the origin, also for ``served``, who came before it began; ``next`` came since."""

    holder: int
    due: float
    served: list[_Asker] = field(default_factory=list)
    next: list[_Asker] = field(default_factory=list)


class ReferenceTable:
    """Bounded by ``capacity`` tags, the least used out first. Methods give what is to be sent."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.leased = 0
        """How often a node was let to an origin."""
        self.shared = 0
        """How often another one was told its answer."""
        self._capacity = capacity
        self._known: OrderedDict[Key, tuple[float, ReferenceSeen]] = OrderedDict()
        self._turns: OrderedDict[Key, _Turn] = OrderedDict()
        """In the order in which their leases end."""

    def __len__(self) -> int:
        return len(self._known)

    def see(self, conn: int, seen: ReferenceSeen, now: float) -> list[Send]:
        """Take a confirmation, unless a younger one is known, and tell those who wait for it."""
        key = (seen.repository, seen.reference)
        when = now - seen.age
        before = self._known.get(key)
        if before is None or when >= before[0]:
            self._known[key] = (when, seen)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        turn = self._turns.get(key)
        if turn is None:
            return []
        out: list[Send] = []
        if turn.holder == conn:
            out += [self._tell(one, now) for one in turn.served]
            turn.served.clear()
        content = [one for one in turn.next if self._fresh(key, one.ask, now)]
        out += [self._tell(one, now) for one in content]
        turn.next = [one for one in turn.next if one not in content]
        return out + (self._over(key, turn, now) if turn.holder == conn else [])

    def unseen(self, conn: int, repository: str, reference: str, now: float) -> list[Send]:
        """The origin did not confirm it: it is for each of those who waited to ask, and to be told why."""
        key = (repository, reference)
        turn = self._turns.get(key)
        if turn is None or turn.holder != conn:
            return []
        out = [Send(one.conn, ReferenceAnswer(one.ask.request)) for one in turn.served]
        turn.served.clear()
        return out + self._over(key, turn, now)

    def ask(self, conn: int, ask: AskReference, now: float) -> list[Send]:
        """Answer with the youngest, aged to now, with no digest where nothing is known; or give out turns."""
        key = (ask.repository, ask.reference)
        if key in self._known:
            self._known.move_to_end(key)
        asker = _Asker(conn, ask)
        if not ask.fresh or self._fresh(key, ask, now):
            return [self._tell(asker, now)]
        turn = self._turns.get(key)
        if turn is not None:
            turn.next.append(asker)
            return [Send(conn, ReferenceAnswer(ask.request, lease="held"))]
        if len(self._turns) >= TURNS:
            return [Send(conn, ReferenceAnswer(ask.request))]
        return self._grant(key, [asker], now)

    def leave(self, conn: int, now: float) -> list[Send]:
        """A connection is gone: it waits for nothing, and its turns go to others."""
        out: list[Send] = []
        for key, turn in list(self._turns.items()):
            turn.served = [one for one in turn.served if one.conn != conn]
            turn.next = [one for one in turn.next if one.conn != conn]
            if turn.holder == conn:
                out += self._over(key, turn, now)
        return out

    def tick(self, now: float) -> list[Send]:
        """Pass on the turns that took too long."""
        out: list[Send] = []
        while self._turns:
            key, turn = next(iter(self._turns.items()))
            if turn.due > now:
                break
            out += self._over(key, turn, now)
        return out

    def next_deadline(self) -> float | None:
        """When the next turn ends."""
        return next(iter(self._turns.values())).due if self._turns else None

    def _fresh(self, key: Key, ask: AskReference, now: float) -> bool:
        known = self._known.get(key)
        return known is not None and now - known[0] < ask.max_age

    def _tell(self, asker: _Asker, now: float) -> Send:
        ask = asker.ask
        known = self._known.get((ask.repository, ask.reference))
        if known is None:
            return Send(asker.conn, ReferenceAnswer(ask.request))
        when, seen = known
        self.shared += ask.fresh
        age = max(0.0, now - when)
        return Send(asker.conn, ReferenceAnswer(ask.request, seen.digest, seen.media_type, seen.size, age))

    def _over(self, key: Key, turn: _Turn, now: float) -> list[Send]:
        """End a turn; whoever still waits has the next one."""
        del self._turns[key]
        waiting = turn.served + turn.next
        return self._grant(key, waiting, now) if waiting else []

    def _grant(self, key: Key, askers: list[_Asker], now: float) -> list[Send]:
        first, *rest = askers
        self._turns[key] = _Turn(first.conn, now + PATIENCE, rest)
        self.leased += 1
        return [Send(first.conn, ReferenceAnswer(first.ask.request, lease="granted"))]
