"""One run: builds what a scenario says, lets it happen, watches the invariants and gives the figures."""

from __future__ import annotations

import gc
import hashlib
import math
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2p.core.swarm.members import HINTED
from p2p.core.wire.common import Provider
from p2p.discovery.dht.addresses import to_endpoint
from p2p.sim.baselines import RULES
from p2p.sim.content import Content
from p2p.sim.control import Control, TrackerServer
from p2p.sim.dht import AHEAD
from p2p.sim.heap import Heap
from p2p.sim.hostile import LIARS, Liar
from p2p.sim.invariants import Invariants
from p2p.sim.limits import Limits
from p2p.sim.network import Host, Network, Queue
from p2p.sim.node import Node
from p2p.sim.origin import Origin
from p2p.sim.scenario import NO_LIMITS
from p2p.transfer.limits import run_of

if TYPE_CHECKING:
    from p2p.core.dht import events as dht
    from p2p.core.dht.contact import Endpoint
    from p2p.core.swarm import actions as act
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.settings import SwarmSettings
    from p2p.sim.node import Peer
    from p2p.sim.scenario import Scenario

EARLY = 0.05
"""Seconds by which those who have the blob are ahead of those who want it."""

DIAL_TRIPS = 4
"""Times the latency until a new link can be used: TCP, the WebSocket's upgrade, both hellos."""


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one run. ``units``: makespan in chunk times; ``ratio``: against M + floor(log2 N)."""

    scenario: Scenario
    digest: str
    events: int
    makespan: float
    units: float
    ratio: float
    times: tuple[float, ...]
    completed: int
    failed: int
    copies: float
    streams: int
    hedges: int
    again: int
    bad: int
    accused_honest: int
    banned_honest: int
    cross_zone: float
    wall: float

    @property
    def median(self) -> float:
        """Seconds until half of the nodes were complete."""
        return self.times[len(self.times) // 2] if self.times else 0.0


class World:
    """Everything in one simulation."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.heap = Heap()
        self.rng = random.Random(scenario.seed)
        self.content = Content(scenario.size)
        self.network = Network(
            self.heap,
            self.random(1 << 40),
            latency=scenario.latency,
            far=scenario.far,
            loss=scenario.loss,
            slots=scenario.slots,
            zone_rate=scenario.zone_rate,
        )
        self.origin = Origin(self, scenario.origin_rate, scenario.origin_latency)
        self.tracker = TrackerServer(self, scenario.latency)
        self.invariants = Invariants(self)
        self.peers: dict[str, Peer] = {}
        """By node id, and by the name that a peer has while only its address is known."""
        self.nodes: list[Node] = []
        self.liars: list[Liar] = []
        self._controls: dict[str, Control] = {}
        self._lists: dict[bytes, bytes] = {}
        self._dead: set[str] = set()
        self._places: dict[Endpoint, Node] = {}
        self._datagrams = self.random(1 << 44)
        self._open = 0
        self._coming = 0

    # ── for the nodes ──────────────────────────────────────────────────────────────────────────────

    def random(self, number: int) -> random.Random:
        """Give a random source of one's own, which others' draws do not disturb."""
        return random.Random(f"{self.scenario.seed}/{number}")

    def settings(self, node: Node) -> SwarmSettings:
        """Give what a node's swarm is set to."""
        run = min(self.scenario.swarm.run, run_of(self.scenario.limits.down))
        return replace(self.scenario.swarm, zone=node.provider.zone, run=run)

    def control(self, node: Node) -> Control:
        """Give a node's ways of discovery."""
        return self._controls[node.name]

    def dial(self, node: Node, name: str) -> float:
        """Give the seconds until a link is up."""
        peer = self.peers.get(name)
        return DIAL_TRIPS * self.network.latency(node.host, peer.host) if peer is not None else 0.0

    def provider_at(self, endpoint: Endpoint) -> Provider | None:
        """Give who listens at an address."""
        node = self._places.get(endpoint)
        return node.provider if node is not None else None

    def datagram(self, sender: Node, endpoint: Endpoint, event: dht.Received) -> None:
        """Send a datagram, which may be lost."""
        node = self._places.get(endpoint)
        if node is None or self._datagrams.random() < self.scenario.loss:
            return
        delay = self.scenario.far if self.scenario.far and node.host.zone != sender.host.zone else 0.0
        self.heap.at(self.heap.now + (delay or self.scenario.latency), self._deliver, node, event)

    def _deliver(self, node: Node, event: dht.Received) -> None:
        member = self._controls[node.name].dht
        if member is not None and node.name not in self._dead:
            member.receive(event)

    def tune(self, node: Node) -> None:
        """Put a baseline's rules in place of ours."""
        RULES[self.scenario.rules].tune(node.swarm, node.teller)

    def list_id(self, states: Midstates) -> bytes:
        """Give a list's id; every length is hashed once."""
        known = self._lists.get(states.states)
        if known is None:
            known = self._lists[states.states] = states.list_id()
        return known

    def check(self, node: Node) -> None:
        """After each event of a swarm."""
        self.invariants.swarm(node)

    def asked(self, node: Node, peer: Peer | None, action: act.Request) -> None:
        """A request went out."""
        self.invariants.asked(node, peer, action)

    def ended(self, node: Node) -> None:
        """A swarm ended."""
        self._open -= 1
        self.invariants.ended(node)
        control = self._controls[node.name]
        if node.done:
            node._announce()
        control.ended()

    # ── building ───────────────────────────────────────────────────────────────────────────────────

    def _provider(self, number: int) -> Provider:
        node = hashlib.blake2b(f"{self.scenario.seed} {number}".encode(), digest_size=16).hexdigest()
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        zone = f"z{number % self.scenario.zones}" if self.scenario.zones > 1 else ""
        return Provider(node, f"n{number}", host, 5001, zone=zone)

    def _host(self, number: int) -> Host:
        scenario = self.scenario
        limits = None
        if scenario.limits != NO_LIMITS:
            limits = Limits(self.heap, scenario.limits, prefetching=not scenario.streaming)
        return Host(scenario.up, Queue(scenario.down), number % scenario.zones, limits=limits)

    def _add_node(self, number: int, known: list[Provider]) -> Node:
        provider = self._provider(number)
        node = Node(self, number, provider.node, provider, self._host(number))
        self.nodes.append(node)
        self._enter(node)
        self._controls[node.name] = Control(self, node, known)
        return node

    def _build(self) -> None:
        scenario = self.scenario
        hostile = round(scenario.nodes * scenario.hostile)
        honest = scenario.nodes + scenario.idle
        total = honest + hostile
        providers = [self._provider(number) for number in range(total)]
        for number in range(honest):
            known = self._sample(providers, number) if scenario.known else []
            self._add_node(number, known)
        for number in range(honest, total):
            provider, kind = providers[number], LIARS[number % len(LIARS)]
            liar = Liar(self, kind, number, provider.node, provider, self._host(number))
            self._enter(liar)
            self.liars.append(liar)

    def _enter(self, peer: Peer) -> None:
        one = peer.provider
        self.peers[one.node] = self.peers[f"{HINTED}{one.host}:{one.port}"] = peer

    def _sample(self, providers: list[Provider], own: int) -> list[Provider]:
        count = min(self.scenario.known, len(providers) - 1)
        found = self.random((1 << 41) + own).sample(providers, min(count + 1, len(providers)))
        return [one for one in found if one.node != providers[own].node][:count]

    # ── running ────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> Result:
        """Let it happen."""
        began = time.process_time()
        # Millions of objects live to the end, and next to none in cycles: looking through them is in vain.
        gc.disable()
        try:
            self.begin()
            self.heap.run(self.scenario.limit, lambda: not self._open and not self._coming)
        finally:
            gc.enable()
        return self.result(time.process_time() - began)

    def begin(self) -> None:
        """Build everything, and enter what is to happen."""
        scenario, heap = self.scenario, self.heap
        if scenario.dht:
            heap.now = -AHEAD
        self._build()
        if scenario.dht:
            self._join()
        for start, stop in scenario.origin_down:
            heap.at(start, self._origin, True)
            heap.at(stop, self._origin, False)
        if scenario.tracker:
            self._tracker_up()
            for start, stop in scenario.tracker_down:
                heap.at(start, self._tracker_lost)
                heap.at(stop, self._tracker_up)
        for node in self.nodes[: scenario.nodes]:
            self._coming += 1
            early = node.number < scenario.seeders
            heap.at(
                0.0 if early else EARLY * bool(scenario.seeders) + scenario.arrival * self.rng.random(),
                self._begin,
                node,
            )
        for node in self.rng.sample(self.nodes, round(scenario.churn * len(self.nodes))):
            heap.at(scenario.churn_span * self.rng.random(), self._dies, node)

        if scenario.entry_dies:
            heap.at(scenario.entry_dies, self._entry_dies)

    def _entry_dies(self) -> None:
        for node in self.nodes:
            if node.alive and node.swarm.members.lets_in:
                self._dies(node)

    def _join(self) -> None:
        """Have every node join the DHT by one that is there already."""
        self._places = {to_endpoint(node.provider.host, node.provider.port): node for node in self.nodes}
        places, rng, now = list(self._places), self.random(1 << 45), self.heap.now
        for number, node in enumerate(self.nodes[1:], 1):
            member = self._controls[node.name].dht
            assert member is not None
            when = now + AHEAD / 4 * number / len(self.nodes)
            self.heap.at(when, member.meet, places[rng.randrange(number)])

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return not self._open and not self._coming

    def _begin(self, node: Node) -> None:
        self._coming -= 1
        if node.name in self._dead:
            return
        self._open += 1
        if node.number < self.scenario.seeders:
            node.bits = (1 << self.content.count) - 1
            node.midstates = self.content.full
            node.teller.offer.whole = True
        self._controls[node.name].connect()
        node.start()

    def _dies(self, node: Node) -> None:
        self._dead.add(node.name)
        node.up = False
        if node.alive:
            node.alive = False
            if not node.done and node.error is None:
                self._open -= 1
            self._controls[node.name].leave()
            node.leave()

    def _origin(self, down: bool) -> None:
        self.origin.down = down

    def _tracker_up(self) -> None:
        self.tracker.start()
        heap = self.heap
        for liar in self.liars:
            heap.at(heap.now, self.tracker.lie, liar)
        for control in self._controls.values():
            heap.at(heap.now + 0.5 * self.rng.random() * bool(heap.now), control.connect)

    def _tracker_lost(self) -> None:
        self.tracker.stop()
        for control in self._controls.values():
            self.heap.at(self.heap.now + self.tracker.latency, control.lost)

    def result(self, wall: float = 0.0) -> Result:
        """Give the figures, ``wall`` seconds of processor time among them."""
        scenario, content = self.scenario, self.content
        lasting = [node for node in self.nodes if node.alive]
        done = [node for node in lasting if node.done]
        times = tuple(sorted(node.ended for node in done))
        makespan = times[-1] if times else math.inf
        unit = content.layout.chunk / scenario.up
        bound = content.count + int(math.log2(max(1, len(lasting))))
        inv = self.invariants
        honest = {node.name for node in self.nodes}
        return Result(
            scenario=scenario,
            digest=self.heap.digest,
            events=self.heap.events,
            makespan=makespan,
            units=makespan / unit,
            ratio=makespan / unit / bound,
            times=times,
            completed=len(done),
            failed=len(lasting) - len(done),
            copies=self.origin.copies,
            streams=self.origin.streams,
            hedges=sum(node.swarm.hedges for node in self.nodes if node.alive),
            again=inv.again,
            bad=inv.bad,
            accused_honest=sum(name in honest for node in self.nodes for name in node.accused),
            banned_honest=sum(name in honest for node in self.nodes for name in node.banned),
            cross_zone=sum(one.carried for one in self.network.uplinks.values()) / content.size,
            wall=wall,
        )


def run(scenario: Scenario) -> Result:
    """Simulate a scenario."""
    result = World(scenario).run()
    gc.collect()  # a world is full of cycles, and the next one would not look for them
    return result
