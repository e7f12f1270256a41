"""Complete nodes in one trio run: engine, links, seeder and server over real loopback sockets.

Around them a discovery twin (``Board``) that hands out providers and leases as a tracker would, and an
origin in memory that can misbehave.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2p.config import LimitSettings, ServerLimits, StoreSettings
from p2p.core.oci.reference import Repository
from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.core.swarm.reputation import Reputation
from p2p.core.swarm.settings import SwarmSettings
from p2p.core.wire.common import PROTOCOL_VERSION, Holding, Provider
from p2p.core.wire.peer import FindReference, FoundReference, PeerHello
from p2p.discovery.composite import Routes
from p2p.discovery.static import StaticPeers
from p2p.net.listeners import open_listeners
from p2p.net.message import FileSpan
from p2p.net.server import serve
from p2p.origin.memory import MemoryBody, MemoryOrigin, PartBody
from p2p.store.memory import MemoryFiles, MemoryStore
from p2p.transfer.api import BlobStream, Sources, Wanted
from p2p.transfer.buffers import BufferPool
from p2p.transfer.engine import Engine
from p2p.transfer.fetch import PeerClient
from p2p.transfer.holdings import Holdings
from p2p.transfer.limits import Limits
from p2p.transfer.links import Links
from p2p.transfer.parts import Parts
from p2p.transfer.seeder import Seeder
from tests.support.http_rig import until
from tests.support.liar import Liar
from tests.support.store_rig import HASHER, UNLINKED, Blob

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.discovery.api import Sink
    from p2p.origin.api import Kind
    from p2p.transfer.confined import Confined

APP = Repository("test", "app")


class ScriptedOrigin(MemoryOrigin):
    """``gate_at``: bodies wait for ``gate`` before this byte. ``sizes``: lies about sizes. ``opened`` counts.

    ``final``: raised at this byte in place of the rest; only ``failures`` times, where that is not None.
    """

    def __init__(self) -> None:
        super().__init__("test", part=256 * 1024)
        self.gate_at: int | None = None
        self.gate = trio.Event()
        self.sizes: dict[Digest, int] = {}
        self.fail_at: int | None = None
        self.fail_with: Exception | None = None
        self.opened = 0
        self.offsets: list[int] = []

    def hold(self, blob: Blob, data: bytes | None = None) -> None:
        """Have a blob, or other bytes in its place."""
        self.at(APP.path).blobs[blob.digest] = blob.data if data is None else data

    @asynccontextmanager
    async def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AsyncIterator[Any]:
        async with super().open(path, digest, kind, offset=offset, stop=stop) as body:
            self.opened += 1
            self.offsets.append(offset)
            yield _ScriptedBody(self, body, self.sizes.get(digest, body.size))


class _ScriptedBody(PartBody):
    def __init__(self, origin: ScriptedOrigin, body: MemoryBody, size: int) -> None:
        self.size = size
        self.offset = body.offset
        self.media_type = body.media_type
        self._origin = origin
        self._body = body

        self._at = body.offset

    def __aiter__(self) -> _ScriptedBody:
        return self

    async def __anext__(self) -> bytes:
        origin = self._origin
        if origin.fail_with is not None and self._at >= (origin.fail_at or 0):
            raise origin.fail_with
        part = await anext(self._body)
        if origin.gate_at is not None and self._at + len(part) > origin.gate_at:
            await origin.gate.wait()
        self._at += len(part)
        return part


@dataclass
class _Want:
    size: int
    lease: bool
    unreachable: frozenset[str]
    sink: Sink


@dataclass
class Board:
    """A tracker in memory: who holds and who wants what, and one lease a digest.

    Plans name everybody who holds or wants a digest. Sinks are called from ``run``'s task only.
    """

    leases: bool = True
    exclusive: bool = True
    wants: dict[str, dict[str, _Want]] = field(default_factory=dict)
    holdings: dict[str, dict[str, Holding]] = field(default_factory=dict)
    granted: dict[str, tuple[str, int]] = field(default_factory=dict)
    extra: list[Provider] = field(default_factory=list)
    """Told to everybody, whatever they ask for."""
    providers: dict[str, Provider] = field(default_factory=dict)
    progress: list[tuple[str, int]] = field(default_factory=list)
    released: list[tuple[str, bool]] = field(default_factory=list)
    epoch: int = 0
    brought: dict[str, str] = field(default_factory=dict)
    """Digest → node that brought it from the origin."""
    _due: dict[str, None] = field(default_factory=dict)
    _wake: trio.Event = field(default_factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            while self._due:
                digest = next(iter(self._due))
                del self._due[digest]
                self._plan(digest)
            self._wake = trio.Event()
            await self._wake.wait()

    def changed(self, digest: str) -> None:
        self._due[digest] = None
        self._wake.set()

    def steal(self, blob: Blob) -> None:
        """Take the lease from its holder; the next plans give it to another one."""
        digest = str(blob.digest)
        node, epoch = self.granted.pop(digest)
        want = self.wants[digest].pop(node)
        want.sink(LeaseLost(epoch))
        self.wants[digest][node] = want
        self.changed(digest)

    def leave(self, node: str) -> None:
        """A node is gone for good."""
        self.providers.pop(node, None)
        for table in (self.wants, self.holdings):
            for digest, nodes in table.items():
                if nodes.pop(node, None) is not None:
                    self.changed(digest)
        for digest, (holder, _) in tuple(self.granted.items()):
            if holder == node:
                del self.granted[digest]
                self.changed(digest)

    def _plan(self, digest: str) -> None:
        wants, holdings = self.wants.get(digest, {}), self.holdings.get(digest, {})
        held = self.brought.get(digest) in holdings or any(h.complete for h in holdings.values())
        if self.leases and digest not in self.granted and not held:
            candidate = next((node for node, want in wants.items() if want.lease), None)
            if candidate is not None:
                self.epoch += 1
                self.granted[digest] = candidate, self.epoch
        holder, epoch = self.granted.get(digest, ("", 0))
        size = max((h.size for h in holdings.values()), default=0)
        for node, want in tuple(wants.items()):
            others = [name for name in (*holdings, *wants) if name != node and name in self.providers]
            providers = tuple(
                Provider(p.node, p.name, p.host, p.port, name in holdings and holdings[name].complete)
                for name in dict.fromkeys(others)
                if (p := self.providers[name]).node not in want.unreachable
            )
            lease = (
                LeaseState.GRANTED
                if holder == node and want.lease
                else LeaseState.HELD
                if holder
                else LeaseState.NONE
            )
            more = tuple(p for p in self.extra if p.node not in want.unreachable)
            want.sink(
                Planned(
                    more + providers,
                    lease,
                    epoch if lease is LeaseState.GRANTED else 0,
                    exclusive=self.exclusive,
                    size=size,
                )
            )


class BoardClient:
    """``Discovery`` and ``Leases`` of one node on the board."""

    def __init__(self, board: Board, provider: Provider) -> None:
        self._board = board
        self.provider = provider
        self._node = provider.node
        board.providers[provider.node] = provider

    @property
    def available(self) -> bool:
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        self._board.wants.setdefault(str(digest), {})[self._node] = _Want(size, lease, unreachable, sink)
        self._board.changed(str(digest))

    def unwant(self, digest: Digest) -> None:
        name = str(digest)
        if self._board.wants.get(name, {}).pop(self._node, None) is not None:
            if self._board.granted.get(name, ("", 0))[0] == self._node:
                del self._board.granted[name]
            self._board.changed(name)

    def announce(self, holding: Holding) -> None:
        held = self._board.holdings.setdefault(holding.digest, {})
        known = held.get(self._node)
        if holding.chunks or holding.complete:
            held[self._node] = holding
        else:
            held.pop(self._node, None)
        if known is None or known.complete != holding.complete:
            self._board.changed(holding.digest)

    def progress(self, digest: Digest, epoch: int, offset: int) -> None:
        self._board.progress.append((str(digest), offset))

    def release(self, digest: Digest, epoch: int, *, done: bool) -> None:
        name = str(digest)
        self._board.released.append((name, done))
        if self._board.granted.get(name) == (self._node, epoch):
            del self._board.granted[name]
            if done:
                self._board.brought[name] = self._node
            self._board.changed(name)


@dataclass
class Options:
    """What one node is made with."""

    grace: float = 0.05
    capacity: int = 1 << 50
    memory: int = 64 << 20
    links: bool = True
    stream: bool = True
    uploads: int = 64
    peers: int = 30
    files: MemoryFiles | None = None
    has_origin: bool = True
    knows: tuple[str, ...] | None = None
    """Addresses of peers, in place of the board: nobody else tells the node of anything."""
    listen: str = "127.0.0.1:0"
    limits: LimitSettings = field(default_factory=LimitSettings)
    confined: Confined | None = None
    """Made by the test; what it holds is neither told nor asked for."""


class Node:
    """One node; ``run`` keeps it until ``kill``."""

    def __init__(self, name: str, options: Options, origin: ScriptedOrigin, board: Board) -> None:
        self.name = name
        self.id = name.encode().hex().ljust(32, "0")[:32]
        self.options = options
        self.origin = origin
        self.board = board
        self.reputation = Reputation()
        self.met: list[Provider] = []
        self.references: dict[str, FoundReference] = {}
        self._scope = trio.CancelScope()
        self.stopped = trio.Event()
        self.store: MemoryStore
        self.engine: Engine
        self.links: Links
        self.holdings: Holdings
        self.buffers: BufferPool
        self.client: PeerClient
        self.parts: Parts
        self.provider: Provider
        self.discovery: BoardClient

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        options = self.options
        listeners = await open_listeners(options.listen)
        self.provider = Provider(self.id, self.name, "127.0.0.1", listeners[0].port)
        self.discovery = BoardClient(self.board, self.provider)
        static = StaticPeers(options.knows or (), own=self.id)
        routes = Routes(self.id, static=static, tracker=None, rng=random.Random(self.name))
        ways = self.discovery if options.knows is None else routes
        self.store = MemoryStore(
            StoreSettings(minimum_free=0),
            files=options.files or MemoryFiles(options.capacity),
            hasher=HASHER if options.links else UNLINKED,
        )
        await self.store.recover()
        confined = () if options.confined is None else options.confined
        self.holdings = Holdings(self.store, confined, rng=random.Random(0))
        self.buffers = BufferPool(options.memory)
        self.client = PeerClient()
        hello = PeerHello(PROTOCOL_VERSION, self.id, self.name, listeners[0].port)
        self.links = Links(
            hello,
            self.holdings,
            self.reputation,
            met=self.met.append if options.knows is None else static.add_known,
            find=self._find_reference,
        )
        self.parts = Parts(
            store=self.store,
            holdings=self.holdings,
            links=self.links,
            client=self.client,
            buffers=self.buffers,
            discovery=ways,
            leases=ways,
            origin=lambda _: self.origin,
            reputation=self.reputation,
            limits=Limits(options.limits),
            stream=options.stream,
        )
        self.engine = Engine(
            self.parts,
            node=self.id,
            settings=SwarmSettings(peers=options.peers, grace=options.grace, links=options.links),
            rng=random.Random(self.name),
            has_origin=lambda _: options.has_origin,
            confinement=options.confined,
        )
        seeder = Seeder(
            self.store,
            self.holdings,
            self.links,
            self.parts.statistics,
            options.uploads,
            self.parts.limits.up,
        )
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for part in (self.buffers, self.links, self.engine, ways):
                        await nursery.start(part.run)
                    await nursery.start(serve, seeder.handle, listeners, ServerLimits())
                    task_status.started()
        finally:
            self.client.close()
            self.board.leave(self.id)
            self.stopped.set()

    async def _find_reference(self, message: FindReference) -> FoundReference:
        await trio.lowlevel.checkpoint()
        found = self.references.get(message.reference, FoundReference(0))
        return FoundReference(message.request, found.digest, found.media_type, found.size, found.age)

    async def kill(self) -> None:
        """End it at once, as a power cut does; the store's memory stays."""
        self._scope.cancel()
        await self.stopped.wait()

    # ── what tests do with it ──────────────────────────────────────────────────────────────────────

    def wanted(self, blob: Blob, *, size: int | None = None) -> Wanted:
        return Wanted(APP, blob.digest, size=blob.size if size is None else size)

    def open(self, blob: Blob, *, size: int | None = None) -> AbstractAsyncContextManager[BlobStream]:
        return self.engine.open(self.wanted(blob, size=size))

    async def read(self, blob: Blob, *, size: int | None = None) -> bytes:
        """Read a whole blob as a client does."""
        async with self.open(blob, size=size) as stream:
            return await read_range(stream, 0, stream.size)

    async def fetch(self, blob: Blob, *, size: int | None = None) -> Sources:
        sources = Sources()
        await self.engine.fetch(self.wanted(blob, size=size), sources)
        return sources

    async def settled(self) -> None:
        """Wait until no swarm is under way."""
        await until(lambda: not self.engine.swarms())

    async def hold(self, *blobs: Blob) -> None:
        """Have blobs from the start, and say so."""
        for blob in blobs:
            partial = await self.store.open_partial(blob.digest, blob.size)
            assert await partial.append(0, memoryview(blob.data))
            await partial.commit()
            await partial.close()
            self.discovery.announce(Holding(str(blob.digest), blob.size, blob.layout.count, True))

    def banned(self) -> dict[str, str]:
        return self.engine.statistics().banned

    def kept(self, blob: Blob) -> bytes:
        """The bytes of a complete blob."""
        with self.store.open(blob.digest) as fd:
            return os.pread(fd, blob.size + 1, 0)


async def read_range(
    stream: BlobStream, start: int, stop: int, *, seen: Callable[[bytes], None] | None = None
) -> bytes:
    """Read bytes ``[start, stop)``; ``seen`` is shown each part as it comes."""
    data = bytearray()
    spans = stream.spans(start, stop)
    try:
        async for span in spans:
            part = os.pread(span.fd, span.length, span.offset) if isinstance(span, FileSpan) else span
            assert not isinstance(span, FileSpan) or len(part) == span.length
            data += part
            if seen is not None:
                seen(part)
    finally:
        await spans.aclose()  # type: ignore[attr-defined]  # both streams give generators
    return bytes(data)


async def read_start(stream: BlobStream, size: int) -> bytes:
    """Read the blob from its beginning and leave after ``size`` bytes, as a client that has enough does."""
    data = bytearray()
    spans = stream.spans(0, stream.size)
    try:
        while len(data) < size:
            span = await anext(spans)
            part = os.pread(span.fd, span.length, span.offset) if isinstance(span, FileSpan) else span
            data += part[: size - len(data)]
    finally:
        await spans.aclose()  # type: ignore[attr-defined]  # both streams give generators
    return bytes(data)


def open_files() -> set[str]:
    """What this process has open, as far as it counts: sockets and memory files."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # the descriptor that lists them
        if target.startswith(("socket:", "/memfd:")):
            found.add(f"{entry.name}:{target}")
    return found


class Cluster:
    """Nodes, the origin and the board."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.origin = ScriptedOrigin()
        self.board = Board()
        self.nodes: list[Node] = []

    async def node(self, name: str = "", **options: Any) -> Node:
        """Start one more node."""
        node = Node(name or f"node{len(self.nodes)}", Options(**options), self.origin, self.board)
        self.nodes.append(node)
        await self._nursery.start(node.run)
        return node

    async def liar(self, blob: Blob, **more: Any) -> Liar:
        """Start a peer of the tests' own, and have everybody told of it."""
        liar = Liar(blob, **more)
        self.board.extra.append(await self._nursery.start(liar.run))
        return liar

    async def start(self, count: int, **options: Any) -> list[Node]:
        return [await self.node(**options) for _ in range(count)]


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """A cluster that must leave nothing behind: no buffer, no swarm, no want, no descriptor."""
    before = open_files()
    made: list[Node] = []
    failure: AssertionError | None = None
    async with trio.open_nursery() as nursery:
        world = Cluster(nursery)
        made = world.nodes
        await nursery.start(world.board.run)
        try:
            yield world
        except AssertionError as error:
            failure = error
        async with trio.open_nursery() as killing:
            for node in made:
                killing.start_soon(node.kill)
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure  # as it is, not in a group
    for node in made:
        assert node.buffers.lent == 0, f"{node.name} did not return {node.buffers.lent} bytes of buffers"
        assert not node.engine.swarms(), f"{node.name} has swarms after its end"
        assert len(node.links) == 0, f"{node.name} has links after its end"
        node.store.close()
    assert not any(world.board.wants.values()), "wants that nobody ended"
    left = open_files() - before
    assert not left, f"left open: {left}"
