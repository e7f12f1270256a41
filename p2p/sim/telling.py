"""What a node tells those who subscribed, and when: as ``p2p.transfer.link`` and ``holdings`` do.

A message is composed at the moment of sending from what is held then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import iter_bits
from p2p.core.swarm.offer import Offer

if TYPE_CHECKING:
    from p2p.core.swarm import actions as act
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.rng import Rng
    from p2p.core.swarm.swarm import Swarm
    from p2p.sim.node import Node


@dataclass(slots=True)
class Watch:
    """How far one subscriber was told. ``name``: by which it knows us."""

    node: Node
    name: str
    told: str = ""
    have: int = 0
    states: Midstates | None = None


class Teller:
    """One node's subscribers."""

    def __init__(self, node: Node, rng: Rng) -> None:
        self.watches: dict[str, Watch] = {}
        self.rng = rng
        self.offer = Offer(rng)
        self._node = node
        self._invite_at: float | None = None
        self._settled = False

    def joined(self, by: Node, name: str) -> None:
        """Tell a new subscriber, which knows us by ``name``, what there is."""
        watch = self.watches[by.name] = Watch(by, name)
        crowd = self.offer.joined(by.name, self._node.bits)
        for one in list(self.watches.values()) if crowd else [watch]:
            self._tell_one(one)
        if self.offer.whole:
            self.invite()

    def herald(self, news: act.Herald) -> None:
        """Tell all at once who streams."""
        node = self._node
        heap, network = node.world.heap, node.world.network
        for watch in self.watches.values():
            event = ev.PeerStreams(watch.name, news.node, news.quiet, news.over)
            when = heap.now + network.latency(node.host, watch.node.host)
            heap.at(when, watch.node.links.told, [event])

    def left(self, by: Node) -> None:
        """Tell it no more."""
        self.watches.pop(by.name, None)
        self.offer.left(by.name)

    def seeds(self, swarm: Swarm) -> None:
        """Chunks came: from the origin, from other zones where this node lets them in, or from near peers."""
        if feeds := swarm.feeds:
            self.offer.spread = swarm.spread
        self.offer.seeding = feeds
        self.invite()

    def asked(self, of: object) -> None:
        """One asks that was not being served, for parts ``of`` this blob, or of another one."""
        if of is self._node.world:
            self.offer.asked()

    def freed(self, seconds: float) -> None:
        """An answer to somebody is through, after ``seconds``."""
        self.offer.took(seconds)
        self.invite()

    def invite(self) -> None:
        """Tell the next subscriber what is new, while there is time to serve it."""
        node = self._node
        if not node.alive or not self.watches:
            return
        heap, busy = node.world.heap, node.host.askers(node.world)
        while (name := self.offer.invite(node.bits, busy, heap.now)) is not None:
            self._tell_one(self.watches[cast("str", name)])
        if node.done and not self._settled and self.offer.settled(node.bits):
            self._settled = True
            self._tell_all()
        due = self.offer.next_at(node.bits, busy)
        if due is not None and (self._invite_at is None or due < self._invite_at):
            self._invite_at = due
            heap.at(due, self._invite_due, due)

    def _invite_due(self, due: float) -> None:
        if self._invite_at == due:
            self._invite_at = None
            self.invite()

    def flush(self) -> None:
        """Tell everybody at once: what is held began, or is less than it was."""
        if self._node.alive:
            self.offer.lost(self._node.bits)
            self._tell_all()

    def _tell_one(self, watch: Watch) -> None:
        """Send a subscriber what it does not know yet: the state, then the list."""
        if news := self._news(watch):
            world = self._node.world
            when = world.heap.now + world.network.latency(self._node.host, watch.node.host)
            world.heap.at(when, watch.node.links.told, news)

    def _tell_all(self) -> None:
        for watch in self.watches.values():
            self._tell_one(watch)

    def _news(self, watch: Watch) -> list[ev.Event]:
        node, told = self._node, self.offer.told(watch.node.name)
        # Of a swarm that is whole this very moment the last chunk is told before it ends.
        prepared = node.begun and node.swarm.have is not None and (node.swarm.closed or not node.swarm.over)
        kind = "growing" if prepared or node.done else "absent"
        if node.done and told == node.world.content.whole:
            kind = "complete"
        news = self._changes(watch, kind, told)
        watch.told, watch.have = kind, told
        watch.states = node.midstates if kind != "absent" else None
        return news

    def _changes(self, watch: Watch, kind: str, have: int) -> list[ev.Event]:
        node = self._node
        content = node.world.content
        news: list[ev.Event] = []
        if kind == "absent":
            return [ev.PeerAbsent(watch.name)] if watch.told != "absent" else []
        if watch.told != kind or watch.have & ~have:
            done = kind == "complete"
            field = b"" if done else have.to_bytes((content.count + 7) // 8, "little")
            news.append(ev.PeerState(watch.name, content.size, done, field))
        elif new := have & ~watch.have:
            news.append(ev.PeerHave(watch.name, tuple(iter_bits(new))))
        before, states = watch.states, node.midstates
        if before is not states and (before is None or before.states != states.states):
            start = 0
            if before is not None and states.states.startswith(before.states):
                start = before.length
            tail = states.states[start * states.width :]
            news.append(ev.PeerMidstates(watch.name, start, tail, node.world.list_id(states)))
        return news
