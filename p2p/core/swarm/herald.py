"""Who streams a blob from the origin, as nodes tell each other where no tracker keeps a lease.

The node that reads tells all that subscribed to the blob there, and they pass it on. Of several streams the
one goes on whose node is first by a hash of node and blob: all nodes reckon the same, whoever heard what
first. News carry the time since the stream last spoke of itself, so that those of one that ended die out.
They are hearsay: who waits for them in vain believes no more of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from p2p.core.swarm.actions import Herald

if TYPE_CHECKING:
    from p2p.core.swarm.events import PeerStreams

REFRESH = 0.5
"""Seconds after which a stream that goes on is told of again."""

LIFE = 3.0
"""Seconds that news of a stream hold after it last spoke of itself: meanwhile what it brought spreads."""

PACE = 0.01
"""Least seconds between two tellings, whatever is heard."""

TRUST = 3.0
"""Seconds without a chunk after which a stream that others speak of is no longer waited for (a lease is taken
from a node that stands still for as long)."""

ENDED = 64
"""Ended streams remembered, so that late news do not bring them back."""


def weight(node: str, digest: str) -> bytes:
    """Give a node's place for a digest: all nodes compute the same for the same node id."""
    return hashlib.blake2b(f"{node}\n{digest}".encode(), digest_size=16).digest()


class Streams:
    """What one swarm knows of streams without a lease; its own is ``own``. Times are its shell's seconds."""

    def __init__(self, node: str, digest: str) -> None:
        self.own = False
        self.deceived = False
        """Whether a stream was waited for in vain: none that is heard of counts any more."""
        self._node = node
        self._digest = digest
        self._mine = weight(node, digest)
        self._first = ""
        """The first in order of the other nodes that stream."""
        self._weight = b""
        self._said = float("-inf")
        self._since: float | None = None
        """When any was heard of first."""
        self._ended: dict[str, float] = {}
        self._over: dict[str, None] = {}
        """Ends that are to be passed on."""
        self._told = ""
        self._told_said = self._told_at = float("-inf")

    def heard(self, event: PeerStreams, now: float) -> None:
        """A peer speaks of a stream, its own or another's."""
        node, said = event.node, now - max(0.0, event.quiet)
        if node == self._node or said + LIFE <= now:
            return
        if event.over:
            if node == self._first:
                self._first, self._over[node] = "", None
            self._ended.pop(node, None)
            self._ended[node] = said
            while len(self._ended) > ENDED:
                del self._ended[next(iter(self._ended))]
            return
        if said <= self._ended.get(node, float("-inf")):
            return
        if node == self._first:
            self._said = max(self._said, said)
            return
        if self._since is None:
            self._since = now
        theirs = weight(node, self._digest)
        if not self.heard_of(now) or theirs < self._weight:
            self._first, self._weight, self._said = node, theirs, said

    def heard_of(self, now: float) -> bool:
        """Whether another node streams, as far as is known."""
        return bool(self._first) and self._said + LIFE > now

    def waits(self, now: float, progress: float) -> bool:
        """Whether a claim leaves the origin to another stream; ``progress``: when a chunk came last.

        One's own stream only to one that comes first in order, one's turn to any.
        """
        if self.deceived or not self.heard_of(now) or (self.own and self._mine < self._weight):
            return False
        if not self.own and now - max(progress, self._since or progress) >= TRUST:
            self.deceived = True
            return False
        return True

    @property
    def known(self) -> bool:
        """Whether there is or was a stream to tell of."""
        return bool(self.own or self._first or self._told or self._over)

    def tell(self, now: float) -> list[Herald]:
        """Give what subscribers are to be told now."""
        if not self.known or now < self._told_at + PACE:
            return []
        over, self._over = [Herald(node, 0.0, over=True) for node in self._over], {}
        first, said = self._leader(now)
        if self._told == self._node != first and not self.own:
            over.append(Herald(self._node, 0.0, over=True))
            self._told = ""
        if first and (first != self._told or said >= self._told_said + REFRESH):
            self._told, self._told_said = first, said
            over.append(Herald(first, now - said))
        if over:
            self._told_at = now
        return over

    def last(self) -> Herald:
        """Give what is told when one's own stream has brought everything: its chunks are on their way."""
        return Herald(self._node, 0.0)

    def next_at(self) -> float | None:
        """When a stream of one's own is to be told of again, or what came too soon after another telling."""
        if self.own and self._told == self._node and not self._over:
            return self._told_at + REFRESH
        return self._told_at + PACE if self.own or self._over else None

    def _leader(self, now: float) -> tuple[str, float]:
        if self.own:
            return self._node, now
        return (self._first, self._said) if self.heard_of(now) else ("", now)
