"""The origin: how fast it gives, when it is down, and how many bytes were taken from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.sim.limits import Taking
from p2p.sim.network import Queue

if TYPE_CHECKING:
    from p2p.core.swarm import actions as act
    from p2p.sim.node import Node
    from p2p.sim.world import World


PROGRESS = 1.0
"""Seconds after which a stream's bytes that are no whole chunk yet count, as in ``p2p.transfer.intake``."""


class Origin:
    """One upstream registry with a line of ``rate`` bytes a second, ``latency`` seconds away."""

    def __init__(self, world: World, rate: float, latency: float) -> None:
        self._world = world
        self._line = Queue(rate)
        self.latency = latency
        self.down = False
        self.streams = 0

    @property
    def copies(self) -> float:
        """Bytes taken, in blobs."""
        return self._line.carried / self._world.content.size

    def shares(self, other: Origin) -> None:
        """Have the line of another blob's origin in common with it."""
        self._line = other._line

    def stream(self, node: Node, first: int, epoch: int, token: object) -> None:
        """Send the blob in order, from chunk ``first``."""
        self.streams += 1
        self._next(node, first, epoch, token, 0.0)

    def range(self, node: Node, action: act.Request) -> None:
        """Send some chunks."""
        heap = self._world.heap
        if self.down:
            heap.at(heap.now + 2 * self.latency, node.range_failed, action)
            return
        size = self._world.content.layout.length(action.first, action.count)
        ready = self._line.passes(size, heap.now + self.latency) + self.latency
        heap.at(node.host.down.passes(size, ready), node.range_came, action, heap.now)

    def _received(self, node: Node, offset: int, epoch: int, token: object) -> None:
        if node.streams(token):
            self._world.control(node).progress(epoch, offset)

    def _next(self, node: Node, index: int, epoch: int, token: object, before: float) -> None:
        if not node.streams(token):
            return
        content = self._world.content
        if self.down:
            node.origin_lost(token)
            return
        limits = node.host.limits
        size, chain = content.layout.length(index), limits.chain(origin=True) if limits is not None else ()
        if chain:
            Taking(
                chain,
                content.name,
                size,
                lambda: self._send(node, index, epoch, token, before),
                lambda: node.streams(token),
            )
        else:
            self._send(node, index, epoch, token, before)

    def _send(self, node: Node, index: int, epoch: int, token: object, before: float) -> None:
        heap, content = self._world.heap, self._world.content
        size = content.layout.length(index)
        sent = self._line.passes(size, heap.now)
        arrived = node.host.down.passes(size, sent + self.latency)
        # In order: a short last chunk does not overtake the one before it.
        verified = max(before, arrived) + size / self._world.scenario.verify_rate
        heap.at(verified, node.appended, index, token, epoch)
        began, took = max(heap.now, arrived - size / min(self._line.rate, node.host.down.rate)), 0.0
        while (took := took + PROGRESS) < arrived - began:
            offset = content.layout.offset(index) + int(size * took / (arrived - began))
            heap.at(began + took, self._received, node, offset, epoch, token)
        if index + 1 < content.count:
            # The next chunk is on its way while this one is hashed, and no faster than the receiver takes it.
            heap.at(max(sent, arrived - self.latency), self._next, node, index + 1, epoch, token, verified)
