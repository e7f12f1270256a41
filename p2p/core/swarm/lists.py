"""Which midstate list a swarm goes by, and which peers commit to it.

The adopted list grows from peers that agree with it and from the origin's stream. A peer whose list
disagrees is a dissenter: it is asked for nothing, and nothing is given to clients early while there is
one, until the adopted list is proven by all its links or falls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2p.core.swarm.midstates import Midstates

if TYPE_CHECKING:
    from p2p.core.swarm.peer import Peer


class Lists:
    """The adopted list. ``links`` False: chunks can't be verified one by one, and no list matters.

    ``own``: built wholly from bytes that this node hashed in order from the origin.
    """

    def __init__(self, algorithm: str, *, links: bool) -> None:
        self._links = links
        self.adopted = Midstates(algorithm)
        self.own = True
        self.fallen: list[bytes] = []
        """Ids of lists that were proven false."""

    def offered(self, peer: Peer, start: int, states: bytes, list_id: bytes) -> bool:
        """Take a peer's states from ``start`` on; True where they extended the adopted list.

        ValueError where they do not follow what the peer sent before, are cut, or are not the list that
        the peer commits to (ours may have changed since it was told where ours ends).
        """
        base = peer.states if peer.dissent and peer.states is not None else self.adopted.prefix(peer.length)
        if start > base.length and start <= self.adopted.length and not peer.dissent:
            # The subscription said which list we have; the peer starts where both agree.
            base = self.adopted.prefix(start)
        theirs = base.joined(start, states)
        if theirs.list_id() != list_id:
            raise ValueError("the midstate list is not the one that its id commits to")
        return self.compare(peer, theirs)

    def compare(self, peer: Peer, theirs: Midstates) -> bool:
        """Enter a peer's list; True where it extended the adopted one."""
        if not theirs.agrees(self.adopted):
            peer.dissent, peer.states, peer.length = True, theirs, 0
            return False
        if self._fell(theirs):
            peer.dissent, peer.states, peer.length = True, theirs, 0
            return False
        peer.dissent, peer.states, peer.length = False, None, theirs.length
        if theirs.length <= self.adopted.length:
            return False
        self.adopted = theirs
        self.own = False
        return True

    def resume(self, stored: Midstates, peers: Iterable[Peer]) -> bool:
        """Go on from the list on disk; True where peers had offered a longer one that agrees with it."""
        offered = self.adopted
        self.change(stored, peers, fell=False)
        if offered.length > self.adopted.length and offered.agrees(self.adopted):
            self.adopted, self.own = offered, False
        return self.adopted.length > stored.length

    def appended(self, midstates: Midstates) -> None:
        """The origin's stream went on under this list, extending it or along it."""
        if midstates.length > self.adopted.length:
            self.adopted = midstates

    def change(self, to: Midstates, peers: Iterable[Peer], *, fell: bool) -> None:
        """Go by another list; ``fell``: the present one is proven false."""
        if fell and self.adopted.length:
            self.fallen.append(self.adopted.list_id())
        old, self.adopted = self.adopted, to
        self.own = to.length == 0
        for peer in peers:
            theirs = peer.states if peer.dissent and peer.states is not None else old.prefix(peer.length)
            self.compare(peer, theirs)

    def known(self, length: int, count: int) -> int:
        """Chunks of a blob of ``count`` whose links a list of ``length`` states knows, as bits."""
        if not self._links or length == count - 1:
            return (1 << count) - 1
        return (1 << length) - 1

    def outvoted(self, peers: Iterable[Peer]) -> bool:
        """Whether another list has more peers behind it than the adopted one; where neither is proven."""
        if self.own:
            return False
        known = list(peers)
        best = self.best_dissent(known)
        behind = sum(1 for peer in known if not peer.dissent and peer.length)
        return best is not None and best[1] > behind

    def best_dissent(self, peers: Iterable[Peer]) -> tuple[Midstates, int] | None:
        """Give the dissenting list with the most peers behind it, and their number."""
        groups: dict[bytes, tuple[Midstates, int]] = {}
        for peer in peers:
            if (
                peer.dissent
                and peer.states is not None
                and peer.states.length
                and not self._fell(peer.states)
            ):
                key = peer.states.states
                groups[key] = (peer.states, groups[key][1] + 1 if key in groups else 1)
        if not groups:
            return None
        return max(groups.values(), key=lambda group: (group[1], group[0].length))

    def _fell(self, theirs: Midstates) -> bool:
        return bool(self.fallen) and theirs.length > 0 and theirs.list_id() in self.fallen
