"""One honest node: the shell of a production swarm, with chunks that are only numbers.

It does what ``p2p.transfer`` does: performs the swarm's actions, serves what it holds, and tells those who
subscribed (``p2p.transfer.link``) what changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield, iter_bits
from p2p.core.swarm.reputation import Reputation, Verdict
from p2p.core.swarm.swarm import Swarm
from p2p.core.wire.common import Holding
from p2p.errors import OriginUnreachableError
from p2p.sim.content import NOTHING, link
from p2p.sim.flows import Flows
from p2p.sim.links import Links
from p2p.sim.network import Transfer
from p2p.sim.telling import Teller
from p2p.transfer.fetch import STALL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.swarm.midstates import Midstates
    from p2p.core.wire.common import Provider
    from p2p.sim.network import Host
    from p2p.sim.world import World

OPEN, COMPLETE, FAILED, CHUNK, ACCUSED = range(1, 6)
"""Kinds of happening in the digest."""

PREPARE = 0.001
"""Seconds to open a partial blob."""


class Peer(Protocol):
    """What a node can meet: another one, or a liar."""

    number: int
    name: str
    host: Host
    up: bool
    alive: bool
    provider: Provider

    def watched(self, by: Node, name: str) -> None:
        """``by`` subscribed, which knows this peer by ``name``."""
        ...

    def unwatched(self, by: Node) -> None:
        """``by`` left."""
        ...

    def chunks(self, first: int, count: int) -> Sequence[bytes | None] | None:
        """Give chunks to send, None for those it does not have; None alone: it never answers."""
        ...


class Node:
    """A node and its swarm of the one blob. ``started`` and ``ended`` in seconds."""

    def __init__(self, world: World, number: int, name: str, provider: Provider, host: Host) -> None:
        self.world = world
        self.number = number
        self.name = name
        self.provider = provider
        self.host = host
        self.teller = Teller(self, world.random(number + (1 << 42)))
        self.links = Links(self)
        host.asked, host.freed = self.teller.asked, self.teller.freed
        self.up = True
        """Until its death: it takes links also before it wants the blob."""
        self.alive = self.begun = False
        """From its start to its death, and from its start on."""
        self.done = False
        self.error: Exception | None = None
        self.started = self.ended = 0.0
        self.bits = 0
        self.wrong: dict[int, bytes] = {}
        """Chunks that hold under a false list."""
        self.midstates = NOTHING
        self.reputation = Reputation()
        self.accused: list[str] = []
        self.banned: list[str] = []
        self.curve: list[float] = []
        self.swarm: Swarm
        self._requests: dict[int, tuple[act.Request, Transfer | None]] = {}
        self._flows = Flows(self, self._requests)
        self._origin: object = None
        self._armed: float | None = None
        self._spins = 0

    # ── the swarm's clock ──────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Want the blob."""
        world = self.world
        self.alive = True
        self.started = world.heap.now
        self.swarm = Swarm(
            world.content.digest,
            node=self.name,
            settings=world.settings(self),
            rng=world.random(self.number),
            reputation=self.reputation,
            size=world.content.size,
            times=self.host.times,
        )
        world.tune(self)
        self.begun = True
        world.heap.log(OPEN, self.number, 0)
        self._perform(self.swarm.start(world.heap.now))
        self.links.begin()
        self.post(ev.ReaderJoined(1, 0, world.content.size, background=not world.scenario.streaming))
        world.control(self).changed()

    def post(self, event: ev.Event) -> None:
        """Tell the swarm."""
        if self.alive and not self.swarm.over:
            self._perform(self.swarm.handle(event, self.world.heap.now))
            self._arm()
            self.world.check(self)

    def _arm(self) -> None:
        due = self.swarm.next_deadline()
        now = self.world.heap.now
        if due is None:
            return
        # A deadline that its own tick does not move is a shell that spins.
        self._spins = self._spins + 1 if due <= now else 0
        assert self._spins < 20, f"node {self.number}: the deadline {due} stays at {now}"
        if self._armed is None or due < self._armed:
            self._armed = due
            self.world.heap.at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        if self._armed == due:
            self._armed = None
            self.post(ev.Tick())

    def _perform(self, actions: list[act.Action]) -> None:
        world, heap = self.world, self.world.heap
        for action in actions:
            match action:
                case act.Request():
                    self._request(action)
                case act.Advance(chunks=chunks):
                    self._advance(chunks)
                case act.Cancel(request=request):
                    self._cancel(request)
                case act.Adopt(midstates=midstates):
                    if midstates.agrees(self.midstates):
                        self.midstates = world.content.shared(midstates)
                case act.Link(provider=provider):
                    self.links.dial(provider.node)
                case act.Unlink(provider=provider):
                    self.links.drop(provider.node)
                case act.Prepare():
                    heap.at(heap.now + PREPARE, self._prepared)
                case act.Seek(lease=lease, unreachable=unreachable):
                    world.control(self).want(lease=lease, unreachable=unreachable)
                case act.OpenOrigin(first=first, epoch=epoch):
                    self._origin = token = object()
                    heap.at(heap.now + 2 * world.origin.latency, self._opened, first, epoch, token)
                case act.KeepLease(epoch=epoch, offset=offset):
                    world.control(self).progress(epoch, offset)
                case act.CloseOrigin(epoch=epoch, done=done):
                    self._close_origin(epoch, done=done)
                case act.Relink(midstates=midstates):
                    self._relink(midstates)
                case act.Accuse(provider=provider, offence=offence):
                    self._accuse(provider, offence)
                case act.Herald():
                    self.teller.herald(action)
                case act.Finish():
                    self._finish()
                case act.Fail(error=error):
                    self.error = error
                    self._end(FAILED)
                case act.Dissolve():
                    self._end(FAILED)

    def _prepared(self) -> None:
        have = Bitfield.from_int(self.world.content.count, self.bits)
        self.post(ev.Prepared(have.to_bytes(), self.midstates))
        self.teller.flush()

    def _accuse(self, provider: Provider, offence: str) -> None:
        peer = self.world.peers[provider.node]
        self.accused.append(peer.name)
        self.world.heap.log(ACCUSED, self.number, peer.number)
        if self.reputation.strike(provider.node, offence, self.world.heap.now) is Verdict.BAN:
            self.banned.append(peer.name)

    def _finish(self) -> None:
        self.done = True
        self._end(COMPLETE)

    def _end(self, kind: int) -> None:
        self.ended = self.world.heap.now
        self.world.heap.log(kind, self.number, 0)
        self._close_origin(0, done=self.done)
        for request in list(self._requests):
            self._cancel(request)
        self.world.ended(self)
        self.links.end()
        self.teller.offer.seeding = False
        self.teller.invite()

    def watched(self, by: Node, name: str) -> None:
        """Take a subscriber."""
        self.links.accept(by, name)

    def unwatched(self, by: Node) -> None:
        """Let a subscriber go."""
        self.links.gone(by)

    def leave(self) -> None:
        """The node dies."""
        self.up = self.alive = False
        self._origin = None
        for request in list(self._requests):
            self._cancel(request)
        self.links.leave()
        self.teller.watches.clear()

    def _request(self, action: act.Request) -> None:
        self._requests[action.request] = (action, None)
        peer = self.world.peers[action.provider.node] if action.provider is not None else None
        self.world.asked(self, peer, action)
        if self.host.limits is not None:
            self.host.limits.ask(self, action, partial(self._ask, action, peer), self._requests)
        else:
            self._ask(action, peer)

    def _ask(self, action: act.Request, peer: Peer | None) -> None:
        world, heap = self.world, self.world.heap
        if peer is None:
            world.origin.range(self, action)
            return
        heap.at(heap.now + world.network.latency(self.host, peer.host), self._reached, action, peer, heap.now)

    def _reached(self, action: act.Request, peer: Peer, sent: float) -> None:
        """The request is at the peer's."""
        if action.request not in self._requests:
            return
        heap, network = self.world.heap, self.world.network
        chunks = peer.chunks(action.first, action.count) if peer.alive else None
        if chunks is None:
            self._fail_later(action, STALL_SECONDS, stalled=True)
            return
        if None in chunks:
            self._fail_later(action, network.latency(peer.host, self.host), unmet=True)
            return
        size = self.world.content.layout.length(action.first, action.count)

        def done() -> None:
            heap.at(heap.now + size / self.world.scenario.verify_rate, self._received, action, chunks, sent)

        transfer = Transfer(peer.host, self.host, size, done, self.world)
        self._requests[action.request] = (action, transfer)
        network.send(transfer)
        self._flows.began()

    def _fail_later(
        self, action: act.Request, wait: float, *, stalled: bool = False, unmet: bool = False
    ) -> None:
        self.world.heap.at(self.world.heap.now + wait, self._failed, action.request, stalled, unmet)

    def _failed(self, request: int, stalled: bool, unmet: bool) -> None:
        if self._requests.pop(request, None) is not None:
            self.post(ev.RequestFailed(request, "no answer", stalled=stalled, unmet=unmet))

    def _received(self, action: act.Request, chunks: Sequence[bytes], sent: float) -> None:
        """Chunks have come: they are verified under the list on disk, as ``Partial.write`` does."""
        if self._requests.pop(action.request, None) is None or not self.alive:
            return
        held = tuple([self._take(index, chunk) for index, chunk in enumerate(chunks, action.first)])
        seconds = self.world.heap.now - sent
        if not all(held) and not self.midstates.agrees(self.swarm.lists.adopted):
            self.post(ev.RequestFailed(action.request, "the list changed meanwhile"))
            return
        self.post(ev.ChunksTaken(action.request, action.first, held, seconds, last=True))

    def _take(self, index: int, chunk: bytes) -> bool:
        content = self.world.content
        known = index < self.midstates.length or index == content.count - 1
        if not known or not content.holds(self.midstates, index, chunk):
            return False
        self.bits |= 1 << index
        if chunk != content.chunks[index]:
            self.wrong[index] = chunk
        return True

    def _cancel(self, request: int) -> None:
        _, transfer = self._requests.pop(request, (None, None))
        if transfer is not None:
            self.world.network.cancel(transfer)

    def chunks(self, first: int, count: int) -> Sequence[bytes | None] | None:
        """Give what is held."""
        content = self.world.content
        self.teller.offer.sent(range(first, first + count), self.world.heap.now)
        return [
            self.wrong.get(index, content.chunks[index]) if self.bits >> index & 1 else None
            for index in range(first, first + count)
        ]

    def _advance(self, chunks: tuple[int, ...]) -> None:
        for index in chunks:
            self.world.heap.log(CHUNK, self.number, index)
        self._announce()
        if self.world.scenario.streaming:
            self.swarm.readers.active[1].position = self.swarm.layout.offset(self.swarm.have.prefix())  # type: ignore[union-attr]
        self.teller.seeds(self.swarm)

    def _announce(self) -> None:
        held = self.bits.bit_count()
        content = self.world.content
        self.world.control(self).announce(Holding(content.name, content.size, held, self.done))

    def _relink(self, midstates: Midstates) -> None:
        content = self.world.content
        for index in list(iter_bits(self.bits)):
            chunk = self.wrong.get(index, content.chunks[index])
            known = index < midstates.length or midstates.full(content.count)
            if not known or not content.holds(midstates, index, chunk):
                self.bits &= ~(1 << index)
                self.wrong.pop(index, None)
        self.midstates = content.shared(midstates)
        have = Bitfield.from_int(content.count, self.bits).to_bytes()
        self.world.heap.at(self.world.heap.now + 0.01, self.post, ev.Relinked(have))
        self.teller.flush()

    def _opened(self, first: int, epoch: int, token: object) -> None:
        if self._origin is not token or not self.alive:
            return
        if self.world.origin.down:
            self._origin_lost()
            return
        self.post(ev.OriginOpened(self.world.content.size))
        if self._origin is token:
            self.world.origin.stream(self, first, epoch, token)

    def _origin_lost(self) -> None:
        self._origin = None
        self.post(ev.OriginFailed(OriginUnreachableError("origin", "is down"), final=False))

    def streams(self, token: object) -> bool:
        """Whether the stream of ``token`` still goes on."""
        return self._origin is token and self.alive

    def origin_lost(self, token: object) -> None:
        """The origin broke the stream off."""
        if self.streams(token):
            self._origin_lost()

    def appended(self, index: int, token: object, epoch: int) -> None:
        """A chunk of the stream came."""
        if not self.streams(token):
            return
        content = self.world.content
        chunk = content.chunks[index]
        known = index == content.count - 1 or index < self.midstates.length
        if known and not content.holds(self.midstates, index, chunk):
            self._origin = None
            self.post(ev.OriginMismatch())
            return
        if not known:
            # A false list before it leads elsewhere: the next chunks then fail, or the last one.
            after = link(self.midstates.state(index), chunk)
            self.midstates = content.shared(self.midstates.joined(index, after))
        self.bits |= 1 << index
        self.world.control(self).progress(epoch, content.layout.offset(index + 1))
        self.teller.offer.spread = self.swarm.spread
        self.post(ev.OriginAppended(index, 1, self.midstates))
        if index == content.count - 1 and self._origin is token:
            self._origin = None

    def _close_origin(self, epoch: int, *, done: bool) -> None:
        self._origin = None
        if epoch:
            self.world.control(self).release(epoch, done=done)

    def range_came(self, action: act.Request, sent: float) -> None:
        """Single chunks from the origin."""
        if action.request in self._requests:
            content = self.world.content
            self._received(action, content.chunks[action.first : action.first + action.count], sent)

    def range_failed(self, action: act.Request) -> None:
        """The origin did not answer a range request."""
        if self._requests.pop(action.request, None) is not None:
            self.post(ev.RequestFailed(action.request, "the origin is down"))
            self.post(ev.OriginFailed(OriginUnreachableError("origin", "is down"), final=False))
