"""What must hold after every event. A violation stops the run with an AssertionError that names the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm.schedule import MOST_REQUESTS

if TYPE_CHECKING:
    from p2p.core.swarm import actions as act
    from p2p.sim.node import Node, Peer
    from p2p.sim.world import World

AT_ONCE = 2
"""A chunk is asked of at most so many peers at once: one, and one that stands in when it is late."""


class Invariants:
    """The watch.

    ``again``: chunks asked for while another request for them was under way (each has a cause: the first was
    late, or the endgame's hurry). ``bad``: nodes that completed with a wrong byte.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.again = 0
        self.bad = 0

    def swarm(self, node: Node) -> None:
        """After each event: the machine and the disk agree, and its tables stay within their bounds."""
        swarm = node.swarm
        have = swarm.have
        if have is not None and not swarm.dispute.relinking and not swarm.over:
            assert have.bits == node.bits, f"node {node.number}: the machine and the disk differ"
        assert len(swarm.peers) <= swarm.settings.peers, f"node {node.number}: too many peers"

    def asked(self, node: Node, peer: Peer | None, action: act.Request) -> None:
        """A request: nothing that is held, and nothing twice but for a cause."""
        swarm = node.swarm
        # Who is asked may be let go in the same breath; that request is taken back right after this.
        asked = swarm.peers.get(peer.name) if peer is not None else None
        assert asked is None or asked.requests <= MOST_REQUESTS, f"node {node.number} asks too much of one"
        for index in range(action.first, action.first + action.count):
            assert not node.bits >> index & 1, f"node {node.number} asks for chunk {index}, which it has"
            requests = swarm.requests.by_chunk.get(index, ())
            assert len(requests) <= AT_ONCE, f"node {node.number} asks {len(requests)} times for {index}"
            if len(requests) > 1:
                self.again += 1
                others = [swarm.requests.pending[number] for number in requests]
                assert any(one.late for one in others), f"node {node.number} asks again without cause"

    def ended(self, node: Node) -> None:
        """A complete blob has every chunk, and the right ones."""
        if node.done:
            assert node.bits == (1 << self._world.content.count) - 1, f"node {node.number} lost a chunk"
            self.bad += bool(node.wrong)
