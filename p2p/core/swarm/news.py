"""What peers tell of their progress: several times for each chunk, and mostly of what is here already.

So most news are taken without looking at everything again: where all that they change is what one peer
offers, it alone is asked, if it offers anything that is wanted and there is room for a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm.events import PeerHave, PeerMidstates

if TYPE_CHECKING:
    from p2p.core.swarm.schedule import Schedule
    from p2p.core.swarm.swarm import Swarm


class News:
    """Takes news for one swarm, whose requests ``schedule`` makes."""

    def __init__(self, swarm: Swarm, schedule: Schedule) -> None:
        self._swarm = swarm
        self._schedule = schedule

    def take(self, event: PeerHave | PeerMidstates, now: float) -> bool:
        """Take news, and ask who brought them where nothing else can follow; True: anything may follow.

        What follows from time alone is left to the next ``Tick``, which is due then.
        """
        swarm, schedule = self._swarm, self._schedule
        extended = False
        if isinstance(event, PeerHave):
            swarm.members.have(event, now)
        else:
            untried = swarm.untried
            extended = self._states(event, now)
            if untried != swarm.untried:
                schedule.changed()
                return True
        # The list grew; a peer was let go; lists or bytes are in dispute; the origin is ours to ask; others
        # are to hear who streams: rare, and what follows then depends on what all peers say.
        if extended or swarm.out or swarm.have is None or swarm.turn.engaged or swarm.dispute.open:
            schedule.news(event.peer)
            return True
        return schedule.heard(event.peer, now)

    def _states(self, event: PeerMidstates, now: float) -> bool:
        """Take a peer's list; True where it extended the adopted one."""
        swarm = self._swarm
        peer = swarm.peers.get(event.peer)
        if peer is None or swarm.layout is None:
            return False
        width = swarm.lists.adopted.width
        if event.start * width + len(event.states) > swarm.layout.last * width:
            swarm.members.accuse(peer, "a midstate list longer than the blob", -1, now)
            return False
        try:
            extended = swarm.lists.offered(peer, event.start, event.states, event.list_id)
        except ValueError as error:
            swarm.members.drop(event.peer, now, reason=str(error))
            return False
        swarm.dispute.told(peer, event.start)
        if extended:
            swarm.patience.hope = now
            if swarm.have is not None and not swarm.dispute.relinking:
                swarm.out.append(act.Adopt(swarm.lists.adopted))
        return extended
