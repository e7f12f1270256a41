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

IDS = 64
"""Ids of our list's prefixes that are remembered: peers that gather tell of the same few at a time."""


class Lists:
    """The adopted list. ``links`` False: chunks can't be verified one by one, and no list matters.

    ``own``: built wholly from bytes that this node hashed in order from the origin.
    """

    def __init__(self, algorithm: str, *, links: bool) -> None:
        self._links = links
        self.adopted = Midstates(algorithm)
        self.own = True
        self.firm = False
        """Nobody else's states extend ours: those that we went by were false."""
        self.fallen: list[bytes] = []
        """The states of lists that were proven false: so is every list that begins with them."""
        self._dissent_seen = False
        self._ids: dict[int, bytes] = {}
        """Ids of prefixes of the adopted list, by length: many peers send the same."""
        self._ids_of = b""
        self._aside: list[tuple[bytes, frozenset[tuple[str, bool]]]] = []

    @property
    def contested(self) -> bool:
        """Whether a peer held another list, at the last look, or those that were gone by were false."""
        return self._dissent_seen or self.firm

    def offered(self, peer: Peer, start: int, states: bytes, list_id: bytes) -> bool:
        """Take a peer's states from ``start`` on; True where they extended the adopted list.

        ValueError where they do not follow what the peer sent before, are cut, or are not the list that
        the peer commits to (ours may have changed since it was told where ours ends).
        """
        ours = self.adopted
        # What is no list of its own is a part of ours.
        base, known = ours, min(peer.length, ours.length)
        if peer.states is not None:
            base, known = peer.states, peer.states.length
        if known < start <= ours.length and not peer.dissent:
            # The subscription said which list we have; the peer starts where both agree.
            base, known = ours, start
        if not 0 <= start <= known:
            raise ValueError(f"states from {start} do not follow a list of {known}")
        if peer.states is None and ours.states.startswith(states, start * ours.width):
            # What we know already, as most of what peers send: one comparison instead of a list of its own.
            length = start + len(states) // ours.width
            self._committed(self._id(length), list_id)
            if not self.fallen:
                peer.dissent, peer.length = False, length
                return False
            return self.compare(peer, ours.prefix(length))
        theirs = base.joined(start, states)
        within = ours.states.startswith(theirs.states)
        self._committed(self._id(theirs.length) if within else theirs.list_id(), list_id)
        return self.compare(peer, theirs)

    @staticmethod
    def _committed(found: bytes, list_id: bytes) -> None:
        if found != list_id:
            raise ValueError("the midstate list is not the one that its id commits to")

    def _id(self, length: int) -> bytes:
        """Give the id of our list's first ``length`` states."""
        ours = self.adopted.states
        if ours is not self._ids_of:
            if not ours.startswith(self._ids_of):
                self._ids.clear()
            self._ids_of = ours
        known = self._ids.get(length)
        if known is None:
            if len(self._ids) >= IDS:
                del self._ids[next(iter(self._ids))]
            known = self._ids[length] = self.adopted.prefix(length).list_id()
        return known

    def compare(self, peer: Peer, theirs: Midstates) -> bool:
        """Enter a peer's list; True where it extended the adopted one."""
        if not theirs.agrees(self.adopted) or self._fell(theirs):
            self._dissent_seen = True
            peer.dissent, peer.states, peer.length = True, theirs, 0
            return False
        longer = theirs.length > self.adopted.length
        if longer and self.firm:
            peer.dissent, peer.states, peer.length = False, theirs, self.adopted.length
            return False
        peer.dissent, peer.states, peer.length = False, None, theirs.length
        if longer:
            self.adopted = theirs
            self.own = False
        return longer

    def compare_again(self, peers: Iterable[Peer]) -> None:
        """Our list changed: peers whose list is not ours may agree with it now, or no longer."""
        for peer in peers:
            if peer.states is not None:
                self.compare(peer, peer.states)

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
            self.fallen.append(self.adopted.states)
        old, self.adopted = self.adopted, to
        self.own = to.length == 0
        self.firm = fell and self.own
        for peer in peers:
            self.compare(peer, peer.states if peer.states is not None else old.prefix(peer.length))

    def soften(self, peers: Iterable[Peer]) -> None:
        """Let peers extend our list again."""
        self.firm = False
        self.compare_again(peers)

    def set_aside(self, peers: Iterable[Peer]) -> None:
        """The adopted list brings nothing: not gone by again, unless it grows or others stand for it."""
        behind = frozenset(_stand(peer) for peer in peers if not peer.dissent)
        self._aside.append((self.adopted.states, behind))

    def known(self, length: int, count: int) -> int:
        """Chunks of a blob of ``count`` whose links a list of ``length`` states knows, as bits."""
        if length == count - 1 or not self._links:
            return (1 << count) - 1
        return (1 << length) - 1

    def outvoted(self, peers: Iterable[Peer]) -> bool:
        """Whether another list has more peers behind it than the adopted one; where neither is proven."""
        if self.own or not self._dissent_seen:
            return False
        known = list(peers)
        self._dissent_seen = any(peer.dissent for peer in known)
        votes = max(self._dissent(known).values(), default=0)
        return votes > sum(1 for peer in known if not peer.dissent and peer.length)

    def stands(self, peers: Iterable[Peer]) -> bool:
        """Whether at least twice as many peers stand behind the adopted list as behind any other one."""
        known = list(peers)
        votes = max(self._dissent(known).values(), default=0)
        return sum(1 for peer in known if not peer.dissent and peer.length) >= 2 * votes

    def best_dissent(self, peers: Iterable[Peer], last: int) -> Midstates | None:
        """Give the dissenting list to try first, for a blob whose last chunk is ``last``.

        One that is full gives itself away if it is false; else the one with the most peers behind it.
        """
        groups = self._dissent(peers)
        return max(groups, key=lambda one: (one.length == last, groups[one], one.length), default=None)

    def _dissent(self, peers: Iterable[Peer]) -> dict[Midstates, int]:
        groups: dict[Midstates, int] = {}
        for peer in peers:
            states = peer.states
            if peer.dissent and states is not None and states.length and self._eligible(peer, states):
                groups[states] = groups.get(states, 0) + 1
        return groups

    def _eligible(self, peer: Peer, theirs: Midstates) -> bool:
        if self._fell(theirs):
            return False
        return not any(one.startswith(theirs.states) and _stand(peer) in who for one, who in self._aside)

    def _fell(self, theirs: Midstates) -> bool:
        return any(theirs.states.startswith(one) for one in self.fallen)


def _stand(peer: Peer) -> tuple[str, bool]:
    return peer.provider.node, peer.complete
