"""When midstate lists disagree, or one brings nothing: which to go by next, and who is guilty.

A list is given up for another in three cases: the origin's bytes contradict it (it fell), more peers stand
behind another, or it has brought nothing for a while although peers hold chunks under another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm.midstates import Midstates

if TYPE_CHECKING:
    from p2p.core.swarm.peer import Peer
    from p2p.core.swarm.swarm import Swarm

BENEFIT = 2.0
"""Seconds in which a peer whose blob still grows may say that its list changed, before it is accused."""

LISTLESS = 1.0
"""Seconds in which a peer that has everything sends its list, when others wait for it."""

DOUBTS = 2
"""How often it may say so."""

WRONG = "a chunk that fails against its own list"


class Dispute:
    """The judge in one swarm. ``relinking``: the disk's chunks are being checked under another list."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self.relinking = False
        self._doubted: list[Peer] = []
        """Peers that were doubted, some of them no longer."""

    @property
    def open(self) -> bool:
        """Whether a list or a peer's chunks are in doubt."""
        return self.relinking or bool(self._doubted) or self._swarm.lists.contested

    @property
    def deadline(self) -> float | None:
        """When the next doubt ends."""
        if not self._doubted:
            return None
        doubts = (peer.doubt for peer in self._current())
        return min((doubt[1] for doubt in doubts if doubt is not None), default=None)

    def refused(self, peer: Peer | None, index: int, now: float) -> None:
        """Count a chunk that failed against the list that its sender commits to; None: the origin.

        A peer is guilty by that alone, where its list can't have changed since it was asked: an honest one
        holds no chunk whose link does not hold. Two peers with the same wrong bytes prove nothing against
        the list, they may be one. The origin does.
        """
        swarm = self._swarm
        assert swarm.layout is not None
        if peer is None:
            self.contradicted()
        elif peer.vouched or peer.direct or swarm.layout.count == 1:
            swarm.members.accuse(peer, WRONG, index, now)
        elif not peer.dissent and peer.doubt is None:
            # Its list may have fallen on the way; then it says so, sooner than it serves other bytes.
            peer.doubts += 1
            swarm.members.cancel_from(peer.provider.node)
            if peer.doubts > DOUBTS:
                swarm.members.drop(peer.provider.node, now, reason=WRONG)
            else:
                peer.doubt = (index, now + BENEFIT)
                self._doubted.append(peer)

    def contradicted(self) -> None:
        """The origin's bytes do not hold under the list: it is false, or, where it is ours, they are."""
        if self._swarm.lists.own:
            self._swarm.damaged()
        else:
            self.change(fell=True)

    def told(self, peer: Peer, start: int) -> None:
        """A peer's list is another from ``start`` on."""
        if peer.doubt is not None and start <= peer.doubt[0]:
            peer.doubt = None
        peer.vouched = peer.complete
        if peer.dissent and peer.requests:
            self._swarm.members.cancel_from(peer.provider.node)

    def settle(self, now: float) -> bool:
        """Accuse whom the doubt no longer benefits; True where the list was changed."""
        swarm = self._swarm
        if self._doubted:
            for peer in self._current():
                if peer.doubt is not None and peer.doubt[1] <= now:
                    swarm.members.accuse(peer, WRONG, peer.doubt[0], now)
        if swarm.lists.firm and not swarm.turn.granted:
            swarm.lists.soften(swarm.peers.values())
        if swarm.have is None or swarm.turn.streaming or not swarm.lists.outvoted(swarm.peers.values()):
            return False
        self.change(fell=False)
        return True

    def _current(self) -> list[Peer]:
        """Give the peers in doubt, without those that are gone or have explained themselves."""
        peers = self._swarm.peers
        self._doubted = [
            peer for peer in self._doubted if peer.doubt is not None and peers.get(peer.provider.node) is peer
        ]
        return self._doubted

    def stuck(self, now: float) -> None:
        """Nothing came for a while: leave those that claim everything without its list; try another list."""
        swarm = self._swarm
        if swarm.layout is None or swarm.have is None or not swarm.settings.links:
            return
        for peer in tuple(swarm.peers.values()):
            known = peer.states.length if peer.states is not None else peer.length
            if (
                peer.complete
                and not peer.direct
                and known < swarm.layout.last
                and now >= peer.since + LISTLESS
            ):
                swarm.members.drop(peer.provider.node, now, reason="claims the blob without its list")
        if (
            not swarm.lists.own
            and not swarm.lists.stands(swarm.peers.values())
            and swarm.lists.best_dissent(swarm.peers.values(), swarm.layout.last)
        ):
            swarm.lists.set_aside(swarm.peers.values())
            self.change(fell=False)

    def change(self, *, fell: bool) -> None:
        """Go by another list; ``fell``: the present one is proven false."""
        swarm = self._swarm
        assert swarm.layout is not None
        best = swarm.lists.best_dissent(swarm.peers.values(), swarm.layout.last)
        if fell and (swarm.lists.fallen or (best is not None and not best.full(swarm.layout.count))):
            # The origin is at hand and one guess was wrong: build our own rather than guess again.
            best = None
        swarm.turn.interrupt(swarm.out)
        swarm.members.cancel_all()
        swarm.lists.change(best or Midstates(swarm.digest.algorithm), swarm.peers.values(), fell=fell)
        self.relinking = True
        swarm.credit = 4
        swarm.emit(act.Relink(swarm.lists.adopted))
