"""Who gets into the routing table, and who is thrown out: by what nodes prove, never by hearsay.

Anybody may be a candidate: who asked us, who answered, who others named. A candidate is pinged, with a
token that it can only have where it receives, and signs the answer: then its id and its address are its own.
Whoever fails requests is asked again and again, and dropped after several failures over some seconds, but
only while others are heard: a node that is cut off from all keeps its table.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from p2p.core.dht.contact import is_usable

if TYPE_CHECKING:
    from p2p.core.dht.contact import Endpoint
    from p2p.core.dht.routing import Member, Table

WAITING: Final = 256
"""Candidates that wait for their ping at most; the oldest go first."""
AT_ONCE: Final = 16
RETRY: Final = 5.0
"""Seconds until a candidate that was pinged may be pinged again."""
REMEMBERED: Final = 1024
FAILURES: Final = 3
SILENCE: Final = 5.0
"""Seconds without an answer, and failures in a row, after which a contact is dropped."""
RECHECK: Final = 1.0
HEARD: Final = 10.0
"""Whoever heard nobody for so long suspects its own network, not its contacts."""
IDLE: Final = 300.0
"""Seconds after which a contact that was not heard is asked."""
RESTED: Final = 60.0
"""A contact that was seen within so many seconds need not be asked whether it is still there."""


class Admission:
    """Candidates and suspects. Times are seconds of the shell's clock."""

    def __init__(self, table: Table, *, families: frozenset[int]) -> None:
        self._table = table
        self._families = families
        self._waiting: OrderedDict[Endpoint, None] = OrderedDict()
        self._tried: OrderedDict[Endpoint, float] = OrderedDict()
        self._under_way = 0
        self._suspects: dict[bytes, float] = {}
        self.heard_at = float("-inf")
        self.evicted = 0

    def consider(self, endpoint: Endpoint, node: bytes | None, now: float) -> None:
        """Somebody seems to be there; ``node`` is the id it claims, if it does."""
        if not self.reachable(endpoint):
            return
        known = self._table.get(node) if node is not None else None
        if known is not None and known.endpoint == endpoint:
            return
        if self._tried.get(endpoint, float("-inf")) + RETRY > now:
            return
        self._waiting[endpoint] = None
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)

    def reachable(self, endpoint: Endpoint) -> bool:
        """Whether this node has a socket of that family, and the address is one that can be sent to."""
        return len(endpoint.ip) in self._families and is_usable(endpoint)

    def take(self, now: float) -> list[Endpoint]:
        """Give the candidates to ping now; each call to one must end in ``done``."""
        out: list[Endpoint] = []
        while self._waiting and self._under_way < AT_ONCE:
            endpoint, _ = self._waiting.popitem(last=False)
            self._tried[endpoint] = now
            self._tried.move_to_end(endpoint)
            while len(self._tried) > REMEMBERED:
                self._tried.popitem(last=False)
            self._under_way += 1
            out.append(endpoint)
        return out

    def done(self) -> None:
        """The ping to a candidate was answered, or was not."""
        self._under_way -= 1

    def admit(self, member: Member, now: float) -> None:
        """It proved itself: in it goes, in place of what was known under its id."""
        self._suspects.pop(member.id, None)
        crowded = self._table.add_contact(member)
        self._table.touch(member.id, now)
        if crowded is not None and crowded.seen + RESTED < now:
            self._suspects.setdefault(crowded.id, now)

    def answered(self, node: bytes, endpoint: Endpoint, now: float) -> bool:
        """Somebody answered, or asked and proved its address; False where it is not (there) in the table."""
        self.heard_at = now
        member = self._table.get(node)
        if member is None or member.endpoint != endpoint:
            return False
        member.seen, member.failures = now, 0
        self._suspects.pop(node, None)
        self._table.add_contact(member)  # most recently seen: last in its bucket
        self._table.touch(node, now)
        return True

    def failed(self, node: bytes, now: float) -> None:
        """A contact did not answer: it is asked again soon, and dropped when enough is enough."""
        member = self._table.get(node)
        if member is None:
            self._suspects.pop(node, None)
            return
        member.failures += 1
        wait = RECHECK * 2 ** min(member.failures - 1, 6)
        if member.failures >= FAILURES and member.seen + SILENCE <= now:
            if self.heard_at + HEARD > now:
                self._table.remove_contact(member)
                self._suspects.pop(node, None)
                self.evicted += 1
                return
            # Is it gone, or are we cut off? Whoever was heard last can tell, before this one is asked again.
            witness = max(self._table, key=lambda one: one.seen)
            self._suspects.setdefault(witness.id, now)
            wait = min(wait, HEARD / 2)
        self._suspects[node] = min(self._suspects.get(node, float("inf")), now + wait)

    def look_after(self, now: float) -> None:
        """Suspect some of those that were not heard for long: the dead are found though nobody needs them."""
        silent = [one for one in self._table if one.seen + IDLE <= now and one.id not in self._suspects]
        for one in heapq.nsmallest(AT_ONCE, silent, key=lambda one: one.seen):
            self._suspects[one.id] = now

    def check(self, now: float) -> list[Member]:
        """Give the suspects to ping now; ``answered`` or ``failed`` tells how it went."""
        due = [node for node, at in self._suspects.items() if at <= now]
        out: list[Member] = []
        for node in due:
            del self._suspects[node]
            member = self._table.get(node)
            if member is not None:
                out.append(member)
        return out

    def next_deadline(self) -> float | None:
        """When ``check`` has something to give."""
        return min(self._suspects.values(), default=None)
