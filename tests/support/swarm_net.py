"""A network of pure swarms on a heap: real lists over tiny chunks, latency, churn and liars, no clock.

``F(state, chunk)`` is SHA-256 of both, so links bind as they do in earnest. A chunk counts as 1 MiB.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from dataclasses import dataclass, field

from p2p.core.oci.digest import Digest
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.midstates import INITIAL, Midstates
from p2p.core.swarm.reputation import Reputation, Verdict
from p2p.core.swarm.settings import SwarmSettings
from p2p.core.swarm.swarm import Swarm
from p2p.core.wire.common import Provider
from p2p.errors import OriginUnreachableError

NOTHING = Midstates("sha256")


def link(state, chunk):
    return hashlib.sha256(state + chunk).digest()


class Blob:
    """``count`` chunks; ``evil`` gives a liar's version of a chunk."""

    def __init__(self, count):
        self.count = count
        self.size = count * MIB
        self.chunks = [b"chunk %d" % i for i in range(count)]
        self.full = self.listed(self.chunks)
        self.digest = Digest("sha256", link(self.full.state(count - 1), self.chunks[-1]).hex())

    def listed(self, chunks):
        states, state = b"", INITIAL["sha256"]
        for chunk in chunks[:-1]:
            state = link(state, chunk)
            states += state
        return Midstates("sha256", states)

    def holds(self, midstates, index, chunk):
        after = bytes.fromhex(self.digest.hex) if index == self.count - 1 else midstates.state(index + 1)
        return link(midstates.state(index), chunk) == after


@dataclass
class Seeder:
    """A peer without a swarm of its own: honest or not.

    ``unmet``: it answers that it has nothing of what it claims. ``slow``: times a request takes as long.
    ``size``: what it says the blob's size is. ``midstates`` None: it never sends a list.
    """

    blob: Blob
    chunks: list
    midstates: Midstates | None
    have: set
    mute: bool = False
    complete: bool = True
    unmet: bool = False
    slow: float = 1.0
    size: int = 0


@dataclass
class Node:
    name: str
    swarm: Swarm
    chunks: dict = field(default_factory=dict)
    midstates: Midstates = NOTHING
    watchers: dict = field(default_factory=dict)
    origin: object = None
    done: bool = False
    failed: Exception | None = None
    alive: bool = True
    linked: set = field(default_factory=set)
    accused: list = field(default_factory=list)
    cancelled: set = field(default_factory=set)
    reputation: Reputation = None
    armed: float | None = None
    spins: int = 0
    began: float = 0.0
    ended: float | None = None


class Net:
    def __init__(self, blob, seed=0, *, origin=True, latency=0.005, rate=100.0, tracker=True):
        self.blob, self.now, self.rng = blob, 0.0, random.Random(seed)
        self.latency, self.rate = latency, rate
        self.origin_up, self.tracker = origin, tracker
        self.heap, self.order = [], 0
        self.nodes, self.seeders, self.wants = {}, {}, {}
        self.lease = None
        self.epoch = 0
        self.egress = 0
        self.lease_at = 0.0
        self.bad = 0
        self.expected = 0
        """Nodes that are still to come, or to come back."""

    def at(self, delay, call, *args):
        self.order += 1
        heapq.heappush(self.heap, (self.now + delay, self.order, call, args))

    def provider(self, name, complete=False):
        return Provider(name, name, name, 1, complete)

    def add(self, name, *, have=(), midstates=None, foreground=True, size=None):
        reputation = Reputation()
        swarm = Swarm(
            self.blob.digest,
            node=name,
            settings=SwarmSettings(grace=5.0),
            rng=random.Random(self.rng.random()),
            reputation=reputation,
            size=self.blob.size if size is None else size,
        )
        node = self.nodes[name] = Node(name, swarm, reputation=reputation, began=self.now)
        node.chunks = {i: self.blob.chunks[i] for i in have}
        node.midstates = midstates or Midstates("sha256")
        self.perform(node, swarm.start(self.now))
        self.post(node, ev.ReaderJoined(1, 0, self.blob.size, not foreground))
        return node

    def seed(self, name, **kw):
        self.seeders[name] = Seeder(
            self.blob,
            kw.pop("chunks", list(self.blob.chunks)),
            kw.pop("midstates", self.blob.full),
            set(kw.pop("have", range(self.blob.count))),
            **kw,
        )

    def kill(self, name):
        self.seeders.pop(name, None)
        node = self.nodes.get(name)
        if node is not None:
            node.alive = False
        for other in self.nodes.values():
            other.watchers.pop(name, None)
            if name in other.linked:
                other.linked.discard(name)
                self.at(self.latency, self.post, other, ev.PeerGone(name, "killed"))
        if self.lease == name:
            self.at(0.1, self.regrant)

    def restart(self, name):
        """A node that was killed is back, with the chunks and the list that its disk holds."""
        old = self.nodes[name]
        assert not old.alive
        self.add(name, have=old.chunks, midstates=old.midstates)

    def run(self, until=600.0):
        """Go on until every node has ended (and nobody is to come back), or the time is over."""
        while self.heap and self.now < until:
            self.now, _, call, args = heapq.heappop(self.heap)
            call(*args)
            if not self.expected and all(n.done or n.failed or not n.alive for n in self.nodes.values()):
                break
        return self

    def post(self, node, event):
        if node.alive and not node.done:
            self.perform(node, node.swarm.handle(event, self.now))
            self.arm(node)
            self.check(node)

    def arm(self, node):
        due = node.swarm.next_deadline()
        if due is None or node.done:
            return
        # A deadline that its own tick does not move is a shell that spins.
        node.spins = node.spins + 1 if due <= self.now else 0
        assert node.spins < 20, f"deadline {due} stays at {self.now}"
        if due != node.armed:
            node.armed = due
            self.at(max(0.0, due - self.now), self.tick, node, due)

    def tick(self, node, due):
        if node.armed == due:
            node.armed = None
            self.post(node, ev.Tick())

    def check(self, node):
        swarm = node.swarm
        if swarm.have is None or swarm.dispute.relinking or swarm.over:
            return
        assert set(swarm.have) == set(node.chunks), "the machine and the disk agree"
        for requests in swarm.requests.by_chunk.values():
            assert len(requests) <= 2
        for peer in swarm.peers.values():
            assert 0 <= peer.requests <= 6
        if swarm.closed:
            self.bad += any(node.chunks[i] != c for i, c in enumerate(self.blob.chunks))

    # ── actions ──

    def perform(self, node, actions):
        for action in actions:
            getattr(self, "do_" + type(action).__name__.lower())(node, action)

    def do_prepare(self, node, action):
        have = Bitfield(self.blob.count, node.chunks).to_bytes()
        self.at(0.001, self.post, node, ev.Prepared(have, node.midstates))

    def do_seek(self, node, action):
        self.wants[node.name] = action
        self.at(self.latency, self.plan, node)

    def plan(self, node):
        want = self.wants.get(node.name)
        if want is None or not node.alive or node.done:
            return
        providers = [
            self.provider(n, s.complete) for n, s in self.seeders.items() if n not in want.unreachable
        ]
        providers += [
            self.provider(n, o.done)
            for n, o in self.nodes.items()
            if n != node.name and o.alive and (o.chunks or self.lease == n) and n not in want.unreachable
        ]
        complete = any(p.complete for p in providers)
        state = ev.LeaseState.NONE
        if not self.tracker:
            state = ev.LeaseState.GRANTED if want.lease and not complete else ev.LeaseState.UNASKED
        elif not complete and self.lease in (None, node.name) and want.lease:
            self.lease, self.epoch, self.lease_at = node.name, self.epoch + 1, self.now
            state = ev.LeaseState.GRANTED
        elif not complete and self.lease is not None:
            state = ev.LeaseState.HELD
        self.post(
            node,
            ev.Planned(
                tuple(providers),
                state,
                self.epoch if self.tracker else 0,
                exclusive=self.tracker,
                size=self.blob.size if providers else 0,
            ),
        )

    def replan(self):
        for name in list(self.wants):
            self.at(self.latency, self.plan, self.nodes[name])

    def regrant(self):
        self.lease = None
        for name, want in self.wants.items():
            node = self.nodes[name]
            if node.alive and not node.done and want.lease:
                self.plan(node)
                break
        self.replan()

    def do_link(self, node, action):
        name = action.provider.node
        self.at(2 * self.latency, self.linked, node, name)

    def linked(self, node, name):
        if name in self.seeders:
            seeder = self.seeders[name]
            node.linked.add(name)
            have = Bitfield(self.blob.count, seeder.have)
            size = seeder.size or self.blob.size
            self.post(node, ev.PeerState(name, size, seeder.complete, have.to_bytes()))
            if seeder.midstates is not None:
                states = seeder.midstates.states
                self.post(node, ev.PeerMidstates(name, 0, states, seeder.midstates.list_id()))
        elif name in self.nodes and self.nodes[name].alive:
            node.linked.add(name)
            other = self.nodes[name]
            other.watchers[node.name] = [0, None, None]
            self.push(other, node)
        else:
            self.post(node, ev.PeerGone(name, "refused"))

    def push(self, source, to):
        """Tell a watcher what changed, as ``p2p.transfer.link`` does: the state, then the list."""
        seen = source.watchers.get(to.name)
        if seen is None or not to.alive or not source.alive:
            return
        bits = Bitfield(self.blob.count, source.chunks)
        if seen[2] != source.done or seen[0] & ~bits.bits:
            seen[2] = source.done
            self.post(to, ev.PeerState(source.name, self.blob.size, source.done, bits.to_bytes()))
        else:
            new = bits.bits & ~seen[0]
            chunks = tuple(Bitfield.from_int(self.blob.count, new))
            if chunks:
                self.post(to, ev.PeerHave(source.name, chunks))
        seen[0] = bits.bits
        if seen[1] != source.midstates.states:
            seen[1] = source.midstates.states
            self.post(
                to, ev.PeerMidstates(source.name, 0, source.midstates.states, source.midstates.list_id())
            )

    def changed(self, node):
        for name in list(node.watchers):
            self.at(self.latency, self.push, node, self.nodes[name])

    def do_unlink(self, node, action):
        node.linked.discard(action.provider.node)
        other = self.nodes.get(action.provider.node)
        if other is not None:
            other.watchers.pop(node.name, None)

    def do_request(self, node, action):
        duration = action.count / self.rate * self.rng.uniform(0.5, 1.5) + 2 * self.latency
        seeder = self.seeders.get(action.provider.node) if action.provider is not None else None
        if seeder is not None:
            duration *= seeder.slow
        self.at(duration, self.answer, node, action, self.now, node.midstates)

    def answer(self, node, action, sent, _list):
        if not node.alive or action.request in node.cancelled or node.done:
            return
        chunks = range(action.first, action.first + action.count)
        if action.provider is None:
            if not self.origin_up:
                error = OriginUnreachableError("origin", "down")
                self.post(node, ev.RequestFailed(action.request, "down"))
                self.post(node, ev.OriginFailed(error, final=False))
                return
            self.egress += len(chunks)
            data = [self.blob.chunks[i] for i in chunks]
        else:
            name = action.provider.node
            seeder, other = self.seeders.get(name), self.nodes.get(name)
            if seeder is not None and seeder.mute:
                self.at(3.0, self.post, node, ev.RequestFailed(action.request, "stalled", stalled=True))
                return
            if seeder is not None and seeder.unmet:
                self.post(node, ev.RequestFailed(action.request, "unmet", unmet=True))
                return
            if seeder is not None:
                data = [seeder.chunks[i] for i in chunks]
            elif other is not None and other.alive:
                data = [other.chunks.get(i) for i in chunks]
            else:
                self.post(node, ev.RequestFailed(action.request, "gone"))
                return
            if None in data:
                self.post(node, ev.RequestFailed(action.request, "unmet", unmet=True))
                return
        held = tuple(self.blob.holds(node.midstates, i, c) for i, c in zip(chunks, data, strict=True))
        for i, c, ok in zip(chunks, data, held, strict=True):
            if ok:
                node.chunks.setdefault(i, c)
        seconds = self.now - sent
        self.post(
            node,
            ev.ChunksTaken(action.request, action.first, held, seconds, last=True),
        )

    def do_cancel(self, node, action):
        node.cancelled.add(action.request)

    def do_openorigin(self, node, action):
        node.origin = object()
        self.at(2 * self.latency, self.origin_step, node, action.first, node.origin)

    def origin_step(self, node, index, token):
        if node.origin is not token or not node.alive:
            return
        if not self.origin_up:
            node.origin = None
            self.post(node, ev.OriginFailed(OriginUnreachableError("origin", "down"), final=False))
            return
        if node.swarm.have is None:
            self.post(node, ev.OriginOpened(self.blob.size))
            self.at(0.002, self.origin_step, node, index, token)
            return
        chunk = self.blob.chunks[index]
        self.egress += 1
        self.lease_at = self.now
        state = link(node.midstates.state(index), chunk)
        known = index == self.blob.count - 1 or index < node.midstates.length
        if known and not self.blob.holds(node.midstates, index, chunk):
            node.origin = None
            self.post(node, ev.OriginMismatch())
            return
        if not known:
            node.midstates = node.midstates.prefix(index).joined(index, state)
        node.chunks[index] = chunk
        self.post(node, ev.OriginAppended(index, 1, node.midstates))
        if index + 1 < self.blob.count:
            self.at(1 / self.rate, self.origin_step, node, index + 1, token)

    def do_keeplease(self, node, action):
        if self.lease == node.name and self.epoch == action.epoch:
            self.lease_at = self.now

    def do_closeorigin(self, node, action):
        node.origin = None
        if self.lease == node.name and action.epoch:
            self.lease = None
            if not action.done:
                self.at(self.latency, self.regrant)

    def do_adopt(self, node, action):
        assert node.midstates.agrees(action.midstates)
        node.midstates = action.midstates
        self.changed(node)

    def do_relink(self, node, action):
        node.midstates = action.midstates
        node.chunks = {
            i: c
            for i, c in node.chunks.items()
            if (i < action.midstates.length or action.midstates.full(self.blob.count))
            and self.blob.holds(action.midstates, i, c)
        }
        have = Bitfield(self.blob.count, node.chunks).to_bytes()
        self.at(0.01, self.post, node, ev.Relinked(have))

    def do_accuse(self, node, action):
        name = action.provider.node
        verdict = node.reputation.strike(name, action.offence, self.now)
        node.accused.append((name, verdict is Verdict.BAN))

    def do_advance(self, node, action):
        self.changed(node)

    def do_herald(self, node, action):
        event = ev.PeerStreams(node.name, action.node, action.quiet, action.over)
        for name in list(node.watchers):
            self.at(self.latency, self.post, self.nodes[name], event)

    def do_finish(self, node, action):
        node.done = True
        node.ended = self.now
        self.changed(node)
        if self.lease == node.name:
            self.lease = None
        self.replan()

    def do_fail(self, node, action):
        node.failed = action.error
        self.replan()

    def do_dissolve(self, node, action):
        node.done = True
