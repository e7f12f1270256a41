"""Tells a node's swarm of slow answers whose bytes keep coming, as ``p2p.transfer.taking`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev
from p2p.net.receive import GLANCE

if TYPE_CHECKING:
    from p2p.core.swarm import actions as act
    from p2p.sim.network import Transfer
    from p2p.sim.node import Node


class Flows:
    """Looks after ``requests`` of one node, with the answers to them that are on their way."""

    def __init__(self, node: Node, requests: dict[int, tuple[act.Request, Transfer | None]]) -> None:
        self._node = node
        self._requests = requests
        self._armed = False

    def began(self) -> None:
        """An answer is on its way."""
        if not self._armed:
            self._armed = True
            heap = self._node.world.heap
            heap.at(heap.now + GLANCE, self._look)

    def _look(self) -> None:
        self._armed = False
        network = self._node.world.network
        under_way = [(request, one) for request, (_, one) in self._requests.items() if one is not None]
        for request, transfer in under_way:
            if request in self._requests and (received := network.received(transfer)):
                self._node.post(ev.RequestFlows(request, received))
        if under_way:
            self.began()
