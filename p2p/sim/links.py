"""One node's links: whom it subscribed to, who subscribed, and what both tell of further peers.

The last is production's ``Exchange`` and ``Introductions``, on the heap. A link that was dialled carries
the dialler's subscription, as in ``p2p.transfer.links``; its other end is one that was accepted, known by its
host alone until its hello.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev
from p2p.core.swarm.acquaintances import Pace
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.peer import PeerHello
from p2p.transfer.exchange import Exchange
from p2p.transfer.introductions import Introductions

if TYPE_CHECKING:
    from p2p.core.wire.common import Provider
    from p2p.core.wire.peer import Known
    from p2p.sim.node import Node


@dataclass(slots=True)
class _Accepted:
    by: Node
    name: str
    told: Introductions
    pace: Pace = field(default_factory=Pace)
    armed: bool = False


class Links:
    """One node's ends of its links. Of further peers they tell where the scenario has an ``exchange``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._digest = node.world.content.name
        self.exchange = Exchange(node.name, lambda _: True) if node.world.scenario.exchange else None
        self._dialled: dict[str, Introductions] = {}
        """By the name under which the swarm knows the peer."""
        self._accepted: dict[str, _Accepted] = {}
        self._swarm = ExitStack()

    def begin(self) -> None:
        """The swarm hears of whoever is met from now on."""
        if self.exchange is not None:
            digest = self._node.world.content.digest
            self._swarm.enter_context(self.exchange.swarm(digest, self._node.post))

    def end(self) -> None:
        """It does so no longer."""
        self._swarm.close()

    # ── those that this node dials ─────────────────────────────────────────────────────────────────

    def dial(self, name: str) -> None:
        """Subscribe to a peer, which the swarm knows by ``name``."""
        world = self._node.world
        world.heap.at(world.heap.now + world.dial(self._node, name), self._linked, name)

    def _linked(self, name: str) -> None:
        node = self._node
        peer = node.world.peers.get(name)
        if peer is None or not peer.up:
            node.post(ev.PeerGone(name, "refused"))
        elif not node.swarm.over and name in node.swarm.peers:
            if self.exchange is not None:
                one = peer.provider
                mine = self._dialled[name] = Introductions(self.exchange, (one.host, one.port))
                mine.greeted(_hello(one))
                node.world.control(node).met(one)
            peer.watched(node, name)

    def drop(self, name: str) -> None:
        """End a subscription."""
        self._left(name)
        if (peer := self._node.world.peers.get(name)) is not None:
            peer.unwatched(self._node)

    def _lost(self, name: str) -> None:
        self._left(name)
        self._node.post(ev.PeerGone(name, "killed"))

    def _left(self, name: str) -> None:
        if (mine := self._dialled.pop(name, None)) is not None:
            mine.end()

    def told(self, news: list[ev.Event]) -> None:
        """A peer has news."""
        for event in news:
            if isinstance(event, ev.PeerState | ev.PeerAbsent) and event.peer in self._dialled:
                self._dialled[event.peer].holds(self._digest, holds=isinstance(event, ev.PeerState))
            self._node.post(event)

    def _known(self, name: str, known: Known) -> None:
        if (mine := self._dialled.get(name)) is not None:
            self._node.post(mine.heard(known, name))

    # ── those that others dial ─────────────────────────────────────────────────────────────────────

    def accept(self, by: Node, name: str) -> None:
        """Another node, which knows us by ``name``, has subscribed."""
        self._node.teller.joined(by, name)
        if self.exchange is None:
            return
        one = by.provider
        told = Introductions(self.exchange, (one.host, 0))
        link = self._accepted[by.name] = _Accepted(by, name, told)
        told.on_news = lambda: self._news(link)
        told.greeted(_hello(one))
        told.serve(self._digest)
        self._node.world.control(self._node).met(one)

    def gone(self, by: Node) -> None:
        """It has left."""
        self._node.teller.left(by)
        if (link := self._accepted.pop(by.name, None)) is not None:
            link.told.end()

    def leave(self) -> None:
        """The node dies: the others notice."""
        node, heap, network = self._node, self._node.world.heap, self._node.world.network
        for watch in node.teller.watches.values():
            at = heap.now + network.latency(node.host, watch.node.host)
            heap.at(at, watch.node.links._lost, watch.name)
        for name in node.swarm.peers if node.begun else ():
            peer = node.world.peers[name]
            heap.at(heap.now + network.latency(node.host, peer.host), peer.unwatched, node)

    def _news(self, link: _Accepted) -> None:
        if not link.armed:
            link.armed = True
            heap = self._node.world.heap
            heap.at(heap.now + link.pace.wait(heap.now), self._tell, link)

    def _tell(self, link: _Accepted) -> None:
        link.armed = False
        node = self._node
        if not node.up or self._accepted.get(link.by.name) is not link:
            return
        for known in link.told.take():
            when = node.world.heap.now + node.world.network.latency(node.host, link.by.host)
            node.world.heap.at(when, link.by.links._known, link.name, known)


def _hello(one: Provider) -> PeerHello:
    return PeerHello(PROTOCOL_VERSION, one.node, one.name, one.port, one.zone)
