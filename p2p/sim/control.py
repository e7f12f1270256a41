"""The ways of discovery, as a node sees them: the tracker while it answers, known peers and claims otherwise.

The decisions are production's: ``tracker.core``, ``p2p.discovery.ledger`` (what is told when),
``p2p.discovery.fallback``, ``claims`` and ``static``. Here is what ``tracker.server``, ``tracker_client`` and
``composite`` do around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev
from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.discovery import claims
from p2p.discovery.composite import DHT_FIRST, DHT_LAST
from p2p.discovery.fallback import Answer, Fallback
from p2p.discovery.ledger import Ledger
from p2p.discovery.static import PLAN_SIZE, StaticPeers
from p2p.sim.dht import Member
from tracker import events as tr
from tracker.core import SETTLE, Tracker

if TYPE_CHECKING:
    from p2p.core.wire.common import Provider
    from p2p.sim.hostile import Liar
    from p2p.sim.node import Node
    from p2p.sim.world import World

DOWN = 0.5
"""Seconds after which a node notices that its tracker is gone."""


class TrackerServer:
    """One tracker's process. ``latency`` seconds away from everybody; it takes no time to think."""

    def __init__(self, world: World, latency: float) -> None:
        self._world = world
        self.latency = latency
        self.up = False
        self.pushed = 0
        self._controls: dict[int, Control] = {}
        self._conns = 0
        self._armed: float | None = None
        self.core: Tracker

    def start(self) -> None:
        """Begin with nothing known."""
        self.up = True
        now = self._world.heap.now
        # It ran before the crowd came; one that comes back has just begun.
        before = 0.0 if self._conns else SETTLE
        self.core = Tracker(now - before, first_epoch=1 + int(now * 1000))

    def stop(self) -> None:
        """Be gone, and forget."""
        self.up = False
        self._controls.clear()
        self._armed = None

    def connect(self, control: Control) -> int:
        """Take a connection; gives its number."""
        self._conns += 1
        conn = self._conns
        self._controls[conn] = control
        self._handle(tr.Connected(conn, control.hello, "10.0.0.1"))
        return conn

    def lie(self, liar: Liar) -> None:
        """Take a connection of a peer that claims to have the whole blob, and wants nothing."""
        self._conns += 1
        one, content = liar.provider, self._world.content
        hello = wire.NodeHello(PROTOCOL_VERSION, one.node, one.name, one.host, one.port, one.zone)
        self._handle(tr.Connected(self._conns, hello, "10.0.0.1"))
        holding = Holding(str(content.digest), content.size, content.count, complete=True)
        self._handle(tr.Received(self._conns, wire.Announce((holding,))))

    def disconnect(self, conn: int) -> None:
        """A node is gone."""
        if self._controls.pop(conn, None) is not None and self.up:
            self._handle(tr.Disconnected(conn))

    def receive(self, conn: int, messages: list[wire.ToTracker]) -> None:
        """Messages came."""
        for message in messages:
            if self.up and conn in self._controls:
                self._handle(tr.Received(conn, message))

    def _handle(self, event: tr.Event) -> None:
        heap = self._world.heap
        for action in self.core.handle(event, heap.now):
            if isinstance(action, tr.Send) and (control := self._controls.get(action.conn)) is not None:
                self.pushed += 1
                heap.at(heap.now + self.latency, control.told, action.conn, action.message)
            elif isinstance(action, tr.Close):
                self._controls.pop(action.conn, None)
        due = self.core.next_deadline()
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = due
            heap.at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        if self.up and self._armed == due:
            self._armed = None
            self._handle(tr.Tick())


class Control:
    """One node's client of the tracker, and its other ways."""

    def __init__(self, world: World, node: Node, known: list[Provider]) -> None:
        self._world = world
        self._node = node
        self._ledger = Ledger()
        self._digest = world.content.name
        self._rng = world.random(-node.number - 1)
        self._static = StaticPeers(own=node.name)
        for provider in known:
            self._static.add_known(provider)
        self.dht = Member(world, node, self._static.add_hint) if world.scenario.dht else None
        self._found: tuple[Provider, ...] = ()
        self._fallback = Fallback(
            lambda digest: claims.delay(node.name, digest, self._static.nodes(), self._rng),
            self._dht_delay if world.scenario.dht else None,
        )
        self._unreachable: frozenset[str] = frozenset()
        self._conn = 0
        self._armed: float | None = None
        self._answer_at: float | None = None

    @property
    def hello(self) -> wire.NodeHello:
        """What the node says first."""
        one = self._node.provider
        return wire.NodeHello(PROTOCOL_VERSION, one.node, one.name, one.host, one.port, one.zone)

    def connect(self) -> None:
        """Reach the tracker, where it is up."""
        tracker = self._world.tracker
        if tracker.up and not self._conn:
            self._conn = tracker.connect(self)
            self._ledger.connect()
            self.changed()

    def met(self, provider: Provider) -> None:
        """A link met a peer."""
        self._static.add_known(provider)

    def lost(self) -> None:
        """The tracker is gone, and noticed."""
        if self._conn:
            self._conn = 0
            self._ledger.disconnect()
            self._fallback.tracker_lost(self._world.heap.now)
            self._answer()

    def leave(self) -> None:
        """The node dies."""
        if self._conn:
            self._world.tracker.disconnect(self._conn)
            self._conn = 0

    # ── the node's side ────────────────────────────────────────────────────────────────────────────

    def want(self, *, lease: bool, unreachable: frozenset[str]) -> None:
        """Ask for providers."""
        self._unreachable = unreachable
        size = self._world.content.size
        self._ledger.want(wire.Want(self._digest, size, lease, tuple(sorted(unreachable))))
        self._fallback.want(self._digest, lease=lease, tracker=bool(self._conn), now=self._world.heap.now)
        self.changed()
        self._answer_soon()

    def ended(self) -> None:
        """Nothing is wanted any more."""
        self._fallback.unwant(self._digest)
        self._ledger.unwant(self._digest)
        self.changed()

    def announce(self, holding: Holding) -> None:
        """Tell what is held."""
        if self.dht is not None and holding.complete:
            self.dht.provide(self._digest)
        self._ledger.announce(holding, self._world.heap.now)
        self.changed()

    def progress(self, epoch: int, offset: int) -> None:
        """The stream went on."""
        self._ledger.progress(self._digest, epoch, offset)
        self.changed()

    def release(self, epoch: int, *, done: bool) -> None:
        """Give the lease back."""
        self._fallback.released(self._digest)
        self._ledger.release(self._digest, epoch, done=done)
        self.changed()

    def changed(self) -> None:
        """Send what is due, and come back for what will be."""
        due = self._ledger.next_due()
        if due is None:
            return
        heap = self._world.heap
        if due > heap.now:
            if self._armed is None or due < self._armed:
                self._armed = due
                heap.at(due, self._due, due)
            return
        messages = self._ledger.take(heap.now)
        if messages:
            tracker = self._world.tracker
            heap.at(heap.now + tracker.latency, tracker.receive, self._conn, messages)
        if self._armed is None:
            self.changed()

    def _due(self, due: float) -> None:
        if self._armed == due:
            self._armed = None
            self.changed()

    # ── answers ────────────────────────────────────────────────────────────────────────────────────

    def told(self, conn: int, message: tr.FromTracker) -> None:
        """Take what the tracker says."""
        if conn != self._conn or not self._node.alive:
            return
        now = self._world.heap.now
        if isinstance(message, wire.Plan):
            self._fallback.answered(self._digest, now)
            state = ev.LeaseState(message.lease)
            if state is ev.LeaseState.GRANTED:
                self._ledger.granted(self._digest, message.epoch)
            self._node.post(ev.Planned(message.providers, state, message.epoch, size=message.size))
        elif isinstance(message, wire.PlansStand):
            self._fallback.answered(self._digest, now)
        elif isinstance(message, wire.LeaseLost):
            self._ledger.lost(self._digest, message.epoch)
            self._node.post(ev.LeaseLost(message.epoch))
        self._answer_soon()

    def _answer_soon(self) -> None:
        due = self._fallback.next_deadline()
        if due is not None and (self._answer_at is None or due < self._answer_at):
            self._answer_at = due
            self._world.heap.at(due, self._answer_due, due)

    def _answer_due(self, due: float) -> None:
        if self._answer_at == due:
            self._answer_at = None
            self._answer()

    def _answer(self) -> None:
        if not self._node.alive:
            return
        for answer in self._fallback.take(self._world.heap.now):
            if not isinstance(answer, Answer):
                assert self.dht is not None
                self.dht.seek(self._digest, self._dht_ended)
                continue
            held = self._ledger.held(self._digest)
            lease = ev.LeaseState.GRANTED if held else answer.lease
            own = self._static.providers(self._digest, self._unreachable)
            found = (one for one in self._found if one.node not in self._unreachable)
            providers = tuple({one.node: one for one in (*found, *own)}.values())[:PLAN_SIZE]
            size = self._world.content.size
            self._node.post(ev.Planned(providers, lease, held, exclusive=False, size=size, route="static"))
        self._answer_soon()

    def _dht_delay(self) -> float:
        known = self._static.available or self._world.scenario.tracker
        return DHT_FIRST + (DHT_LAST - DHT_FIRST) * self._rng.random() if known else 0.0

    def _dht_ended(self, found: tuple[Provider, ...]) -> None:
        if not self._node.alive or self._node.swarm.over:
            return
        self._found = found
        self._fallback.dht_answered(self._digest, self._world.heap.now, found=bool(found))
        if found:
            self._node.post(ev.Planned(found, exclusive=False, size=self._world.content.size, route="dht"))
        self._answer_soon()
