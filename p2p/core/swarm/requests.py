"""Requests under way: which chunks, from whom, since when, and which are late."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from p2p.core.swarm.actions import ORIGIN
from p2p.core.swarm.times import KNOWN, Times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.core.swarm.bitfield import Bitfield

FIRST_HEDGE = 0.75
"""Seconds before a first request counts as late, while nothing is known of this swarm's speed."""

LEAST_HEDGE = 0.25
MOST_HEDGE = 5.0
USUAL = 3
"""Times the median that a request is given in any case, ``MOST_HEDGE`` or not: all may be slow."""

FLOW_GRACE = 1.5
FLOW_MOST = 12.0
"""Until that is known a request whose bytes come is late so many seconds later each time, at most so many."""

FLOW_LEAST = 32 * 1024
"""Bytes a second below which an answer does not count as coming at all."""

FLOW_SHARE = 0.25
"""Of the pace of the fastest one: what is slower than that is late though its bytes come."""


@dataclass(slots=True)
class Pending:
    """One request: ``count`` chunks from ``first``; ``taken`` of them have come; peer None: the origin."""

    request: int
    peer: str
    first: int
    count: int
    sent: float
    late_at: float
    taken: int = 0
    late: bool = False
    held: float | None = None
    """Since when this node's own limits keep it waiting."""
    pace: float = 0.0
    """Bytes a second so far; 0 while nothing was told of it."""
    received: int = 0
    usual: float = inf
    """Twice the seconds that such requests took in the middle, when it was sent."""

    @property
    def missing(self) -> range:
        """Chunks that have not come yet."""
        return range(self.first + self.taken, self.first + self.count)

    def due(self, *, endgame: bool) -> float:
        """When it counts as late: in the endgame sooner, the first time. Infinite: never."""
        if self.held is not None or self.peer == ORIGIN:
            return inf
        if not endgame or self.late:
            return self.late_at
        return min((self.sent + self.late_at) / 2, self.sent + self.usual)


class Requests:
    """The table of requests of one swarm, and the distribution of their times.

    ``elsewhere``: the times of all swarms of this node, for as long as this one knows too few.
    """

    def __init__(self) -> None:
        self._next = 1
        self._times = Times()
        self.elsewhere: Times | None = None
        self._swiftest = 0.0
        self._first_late: float | None = None
        """What ``first_late`` found, None where it is to be looked for again."""
        self._endgame = False
        self.pending: dict[int, Pending] = {}
        self.by_chunk: dict[int, list[int]] = {}
        self.bits = 0
        """Chunks under way."""
        self.origin = 0
        """Requests to the origin."""
        self.held = 0
        """Requests that this node's own limits keep waiting."""

    def add(self, peer: str, first: int, count: int, now: float) -> Pending:
        """Enter a request."""
        pending = Pending(self._next, peer, first, count, now, now + self.hedge_after(count))
        if self._times.known:
            # A few slow peers must not make the last chunks wait for a slow peer.
            pending.usual = max(LEAST_HEDGE, 2 * count * self._times.median)
        self._next += 1
        self.pending[pending.request] = pending
        self.origin += peer == ORIGIN
        self._first_late = None
        for index in pending.missing:
            self.by_chunk.setdefault(index, []).append(pending.request)
            self.bits |= 1 << index
        return pending

    def taken(self, request: int, count: int) -> None:
        """``count`` more chunks of a request have come, in order."""
        pending = self.pending.get(request)
        if pending is None:
            return
        for index in range(pending.first + pending.taken, pending.first + pending.taken + count):
            self._forget(index, request)
        pending.taken += count

    def end(self, request: int) -> Pending | None:
        """Take a request out; None where it is unknown (cancelled before)."""
        pending = self.pending.pop(request, None)
        if pending is not None:
            self._first_late = None
            self.origin -= pending.peer == ORIGIN
            self.held -= pending.held is not None
            for index in pending.missing:
                self._forget(index, request)
        return pending

    def needless(self, fresh: Iterable[int], have: Bitfield) -> list[Pending]:
        """Give the requests for ``fresh`` chunks, which came another way, that miss nothing any more."""
        numbers = {number: None for index in fresh for number in self.by_chunk.get(index, ())}
        if not numbers:
            return []
        found = [self.pending[number] for number in numbers]
        return [one for one in found if all(index in have for index in one.missing)]

    def hold(self, request: int, held: bool, now: float) -> None:
        """Stop a request's clock, or let it go on: as if it had been sent later by the time between."""
        pending = self.pending.get(request)
        if pending is None or held is (pending.held is not None):
            return
        self._first_late = None
        self.held += 1 if held else -1
        if held:
            pending.held = now
        elif pending.held is not None:
            pending.sent += now - pending.held
            pending.late_at += now - pending.held
            pending.held = None

    def flows(self, request: int, received: int, now: float) -> bool:
        """Count the ``received`` bytes of an answer; gives whether it comes fast enough to wait for."""
        pending = self.pending.get(request)
        if pending is None or received <= pending.received or now <= pending.sent:
            return False
        pending.received, pending.pace = received, received / (now - pending.sent)
        if pending.pace < FLOW_LEAST:
            return False
        if len(self._times) < KNOWN and not pending.late:
            fastest = max(one.pace for one in self.pending.values())
            if pending.pace >= FLOW_SHARE * fastest:
                until = min(now + FLOW_GRACE, pending.sent + FLOW_MOST)
                self.postpone(pending, max(pending.late_at, until))
        return True

    def timed(self, seconds: float, count: int) -> None:
        """Count the time of a request for ``count`` chunks."""
        self._swiftest = min(seconds, self._swiftest * 1.02) if self._times else seconds
        self._times.add(seconds / count)
        if self.elsewhere is not None:
            self.elsewhere.add(seconds / count)

    def first_late(self, *, endgame: bool) -> float:
        """When the first of all requests counts as late; infinite: none ever does."""
        if self._first_late is None or endgame is not self._endgame:
            self._endgame = endgame
            self._first_late = min([one.due(endgame=endgame) for one in self.pending.values()], default=inf)
        return self._first_late

    def postpone(self, pending: Pending, until: float) -> None:
        """Let a request count as late at ``until``, not before."""
        pending.late_at = until
        self._first_late = None

    @property
    def swiftest(self) -> float:
        """Seconds that the fastest of the recent requests took, for all of its chunks."""
        return self._swiftest

    def hedge_after(self, count: int) -> float:
        """Seconds after which a request for ``count`` chunks is late: twice the recent 95th percentile."""
        times = self._times
        if not times.known:
            if self.elsewhere is None or not self.elsewhere.known:
                return FIRST_HEDGE
            times = self.elsewhere
        late = 2 * count * times.most
        most = max(MOST_HEDGE, USUAL * count * times.median)
        return min(most, max(LEAST_HEDGE, late))

    def _forget(self, index: int, request: int) -> None:
        holders = self.by_chunk.get(index)
        if holders and request in holders:
            holders.remove(request)
            if not holders:
                del self.by_chunk[index]
                self.bits &= ~(1 << index)
