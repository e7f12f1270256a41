"""One iterative lookup, as a pure machine: whom to ask next, what was found, and when it is over.

Like libp2p's and discv5's queries, with a *rolling* degree of parallelism: a node that has not answered for
a while no longer counts among the three that are being asked, but its answer is still taken when it comes.
A dead node costs a lookup at most that while, and only where all three are dead.
"""

from __future__ import annotations

from bisect import insort
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from p2p.core.dht.contact import distance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.core.dht.contact import Contact
    from p2p.core.dht.messages import Held

ALPHA: Final = 3
CANDIDATES: Final = 64
"""Nodes remembered at most, the nearest: whoever lies about neighbours can't make a lookup endless."""
QUERIES: Final = 32
"""Nodes asked at most."""


class _State(Enum):
    NEW = auto()
    ASKED = auto()
    LATE = auto()
    ANSWERED = auto()
    FAILED = auto()


class Lookup:
    """Find the ``k`` nodes nearest to ``key`` that answer, or ``enough`` provider records on the way.

    ``own`` is this node's id, which is never asked; ``until`` is when it ends at the latest, on the
    shell's clock. ``enough`` 0: only nodes are looked for.
    """

    def __init__(
        self,
        key: bytes,
        seeds: Iterable[Contact],
        *,
        own: bytes,
        until: float,
        k: int,
        enough: int = 0,
        alpha: int = ALPHA,
    ) -> None:
        self.key = key
        self.until = until
        self.enough = enough
        self.queries = 0
        self.records: dict[bytes, Held] = {}
        """By provider: the union of what all that were asked have, the longest-lived of each."""
        self._own = own
        self._k = k
        self._alpha = alpha
        self._states: dict[bytes, _State] = {own: _State.FAILED}
        self._near: list[tuple[int, Contact]] = []
        self._add(seeds)

    @property
    def satisfied(self) -> bool:
        """Whether enough providers were found."""
        return bool(self.enough) and len(self.records) >= self.enough

    def over(self, now: float) -> bool:
        """Whether nothing more will come of it: satisfied, out of time, or all near nodes have answered."""
        if self.satisfied or now >= self.until:
            return True
        if any(self._states[one.id] is _State.NEW for one in self._nearest()) and self.queries < QUERIES:
            return False
        return not any(self._states[one.id] is _State.ASKED for _, one in self._near)

    def next(self, now: float) -> list[Contact]:
        """Give the nodes to ask now; each is given once."""
        if self.over(now):
            return []
        asked = sum(state is _State.ASKED for state in self._states.values())
        out: list[Contact] = []
        for one in self._nearest():
            if asked + len(out) >= self._alpha or self.queries >= QUERIES:
                break
            if self._states[one.id] is _State.NEW:
                self._states[one.id] = _State.ASKED
                self.queries += 1
                out.append(one)
        return out

    def on_success(
        self, node: bytes, contacts: Iterable[Contact], records: Iterable[Held] = ()
    ) -> list[Held]:
        """A node answered; gives the records of providers that were not known before."""
        if node in self._states:
            self._states[node] = _State.ANSWERED
        self._add(contacts)
        return self.take(records)

    def take(self, records: Iterable[Held]) -> list[Held]:
        """Take records, from wherever; gives those of providers that were not known before."""
        fresh: list[Held] = []
        for held in records:
            record = held.record
            before = self.records.get(record.public)
            if before is None:
                fresh.append(held)
            if before is None or before.record.expires < record.expires:
                self.records[record.public] = held
        return fresh

    def on_late(self, node: bytes) -> None:
        """A node takes its time: somebody else may be asked in its place."""
        if self._states.get(node) is _State.ASKED:
            self._states[node] = _State.LATE

    def on_failure(self, node: bytes) -> None:
        """A node did not answer, or is not who it was said to be."""
        if self._states.get(node) in (_State.ASKED, _State.LATE):
            self._states[node] = _State.FAILED

    def closest(self) -> list[Contact]:
        """Give the nearest nodes that answered, the nearest first, ``k`` at most."""
        answered = [one for _, one in self._near if self._states[one.id] is _State.ANSWERED]
        return answered[: self._k]

    def _nearest(self) -> list[Contact]:
        """Give the ``k`` nearest of those that answered or may answer in time."""
        silent = (_State.FAILED, _State.LATE)
        return [one for _, one in self._near if self._states[one.id] not in silent][: self._k]

    def _add(self, contacts: Iterable[Contact]) -> None:
        for one in contacts:
            if one.id in self._states:
                continue
            far = distance(one.id, self.key)
            if len(self._near) >= CANDIDATES:
                if far >= self._near[-1][0] or self._states[self._near[-1][1].id] is not _State.NEW:
                    continue
                del self._states[self._near.pop()[1].id]
            insort(self._near, (far, one))
            self._states[one.id] = _State.NEW
