"""The composition root: makes a node's parts, joins them, runs them, and stops them in order.

Start: state and store, listeners, links and swarms and discovery, hosted layouts, servers, ready.
Stop: the servers accept no more and drain, then swarms and links end, then the store closes.
"""

from __future__ import annotations

import gc
import random
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from p2p import __version__
from p2p.config import WELL_KNOWN
from p2p.core.swarm.reputation import Reputation
from p2p.core.swarm.settings import SwarmSettings
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.core.wire.peer import PeerHello
from p2p.discovery.tracker_client import Identity
from p2p.errors import lone
from p2p.net.hosts import LOOPBACK_HOSTS, guard_hosts
from p2p.net.server import serve
from p2p.node.admin import RequestReport, Status, SwarmStatus, admin_handler, explained
from p2p.node.exposure import advertised, check_peer_address, close_ports, open_ports
from p2p.node.front_end import FrontEndParts, check_front_end, open_front_end
from p2p.node.health import health_handler
from p2p.node.identity import node_id
from p2p.node.logs import configure
from p2p.node.metrics import Metrics, Readings
from p2p.node.plugins import open_database, open_sources, open_store
from p2p.node.prefetch import Prefetcher
from p2p.node.private import PrivateContent
from p2p.node.sharing import Sources, open_shared
from p2p.node.upkeep import Upkeep, tell_bad
from p2p.node.ways import Ways, open_dht
from p2p.origin.factory import open_origins
from p2p.origin.push import Pusher
from p2p.registry.hosted import host_layouts
from p2p.store.scrubber import Scrubber
from p2p.store.verify import LinkHasher
from p2p.transfer.buffers import BufferPool
from p2p.transfer.engine import Engine
from p2p.transfer.fetch import PeerClient
from p2p.transfer.holdings import Holdings
from p2p.transfer.limits import Limits
from p2p.transfer.links import Links
from p2p.transfer.parts import Parts
from p2p.transfer.seeder import Seeder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from p2p.config import NodeSettings
    from p2p.content.api import SharedContent
    from p2p.core.oci.digest import Digest
    from p2p.core.wire.tracker import Intent, IntentCancel
    from p2p.discovery.api import ProviderSource
    from p2p.discovery.dht.service import DhtDiscovery
    from p2p.net.listeners import Listener
    from p2p.net.server import Server
    from p2p.node.front_end import FrontEnd
    from p2p.node.plugins import Database, Driver
    from p2p.registry.app import Registry
    from p2p.registry.hosted import Hosted

log = structlog.get_logger(__name__)

ADMIN = "admin.sock"
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """The ready line: the addresses that were taken, and the admin socket's path."""

    event: str
    name: str
    node: str
    registry: str
    peer: str
    metrics: str
    admin: str


async def run_node(settings: NodeSettings, *, ready: Callable[[ReadyInfo], None]) -> None:
    """Run a node until cancelled; ``ready`` is called once it serves.

    Raises ConfigError, LocalError (a port, the state directory) or StoreError when it can't start. On
    cancellation it drains for ``limits.drain_timeout`` at most before it returns.
    """
    configure(settings.log_level, settings.log_format)
    # Hashing and writing are done in threads that need the interpreter for microseconds between system
    # calls; by default each may wait 5 ms for it, several times for every chunk.
    sys.setswitchinterval(SWITCH_SECONDS)
    check_peer_address(settings.peer)
    check_front_end(settings)
    failure: BaseException | None = None
    try:
        async with AsyncExitStack() as stack:
            node = await _Node.make(settings, stack)
            stop = trio.Event()
            async with trio.open_nursery() as nursery:

                async def shielded() -> None:
                    # Cancellation asks for a stop; what is under way must still be able to end well.
                    with trio.CancelScope(shield=True):
                        await node.run(stop, ready)

                nursery.start_soon(shielded)
                try:
                    await stop.wait()
                finally:
                    stop.set()
    except ExceptionGroup as group:
        failure = lone(group)
    if failure is not None:
        raise failure


class _Node:
    """The parts of one node, joined."""

    def __init__(
        self,
        settings: NodeSettings,
        identity: Identity,
        hasher: LinkHasher,
        store: Driver,
        metadata: Database,
        sources: Sequence[ProviderSource],
        content: SharedContent | None,
        listeners: Mapping[str, Sequence[Listener]],
        dht: DhtDiscovery | None,
        rng: random.Random,
        stack: AsyncExitStack,
    ) -> None:
        self.settings = settings
        self.identity = identity
        self.store = store
        self.metadata = metadata
        self.sources = sources
        self.listeners = listeners
        self.started = trio.current_time()
        self.rng = rng
        upstreams = {**WELL_KNOWN, **settings.upstreams}
        self.origins = open_origins(upstreams, user_agent=f"remora/{__version__}")
        stack.push_async_callback(self.origins.aclose)

        private = self.private = PrivateContent(settings.private, metadata, self.origins, store)
        self.ways = Ways.make(
            settings,
            identity,
            dht=dht,
            rng=rng,
            on_intent=self._intent,
            references=(metadata, lambda: self.links, private.visibility.kept),
            confined=private.confined,
        )
        self.routes, self.static, self.tracker = self.ways.routes, self.ways.static, self.ways.tracker
        self.holdings = Holdings(store, private.confined, rng=rng)
        private.announce, private.changed = self.routes.announce, self.holdings.shown
        self.scrubber = Scrubber(store, settings.scrub, on_bad=tell_bad)
        self.buffers = BufferPool(settings.transfer.memory)
        reputation = Reputation()
        self.links = Links(
            PeerHello(PROTOCOL_VERSION, identity.node, identity.name, identity.port, settings.zone),
            self.holdings,
            reputation,
            met=self.routes.met,
            find=self.ways.references.answer,
        )
        client = PeerClient()
        stack.callback(client.close)
        self.content, self.upstreams = content, upstreams
        bytes_of = Sources(upstreams, self.origins, content, metadata)
        parts = Parts(
            store=store,
            holdings=self.holdings,
            links=self.links,
            client=client,
            buffers=self.buffers,
            discovery=self.routes,
            leases=self.routes,
            origin=bytes_of.find,
            reputation=reputation,
            limits=Limits(settings.limits),
            stream=settings.transfer.stream,
        )
        self.engine = Engine(
            parts,
            node=identity.node,
            settings=SwarmSettings(
                peers=settings.transfer.peers,
                grace=settings.transfer.grace,
                links=hasher.available,
                run=parts.limits.run,
                zone=settings.zone,
            ),
            rng=rng,
            has_origin=bytes_of.has,
            confinement=private.confined,
        )
        uploads, limit = settings.transfer.uploads, parts.limits.up
        self.seeder = Seeder(store, self.holdings, self.links, parts.statistics, uploads, limit)
        self.prefetcher: Prefetcher | None = None

    @classmethod
    async def make(cls, settings: NodeSettings, stack: AsyncExitStack) -> _Node:
        """Open the state, the store and every listener: what can fail fails here, before anything runs."""
        state = Path(settings.state)
        name = settings.name or socket.gethostname()
        own = node_id(state)
        hasher = LinkHasher.load()
        if not hasher.available:
            log.warning("chunks can't be verified one by one: whole blobs are", reason=hasher.reason)
        late: list[_Node] = []

        def withdraw(digest: Digest) -> None:
            for node in late:
                node.private.told(Holding(str(digest), 0, 0, False))

        store = await stack.enter_async_context(
            open_store(settings.store, state=state, node=name, hasher=hasher, withdraw=withdraw)
        )
        metadata = await stack.enter_async_context(open_database(settings.metadata, state=state, node=name))
        sources = await stack.enter_async_context(open_sources(settings.peer.sources, state=state, node=name))
        content = await stack.enter_async_context(open_shared(settings.hosting))
        listeners = await open_ports(settings, state / ADMIN)
        stack.callback(close_ports, listeners)
        host, port = advertised(settings.peer, listeners["peer"][0].address)
        identity = Identity(own, name, host, port, settings.zone, settings.rack)
        peers = [listener.address for listener in listeners["peer"]]
        rng = random.SystemRandom()
        dht = await open_dht(settings, identity, peers, rng=rng, stack=stack)
        node = cls(settings, identity, hasher, store, metadata, sources, content, listeners, dht, rng, stack)
        late.append(node)
        return node

    async def run(self, stop: trio.Event, ready: Callable[[ReadyInfo], None]) -> None:
        """Run until ``stop``, then drain."""
        try:
            async with trio.open_nursery() as core:
                for part in (self.buffers, self.links, self.engine, self.routes):
                    await core.start(part.run)
                for source in self.sources:
                    await core.start(source.run, self.static)
                await self.private.load()
                for blob in self.store.blobs():
                    self.routes.announce(Holding(str(blob.digest), blob.size, 1, True))
                hosted = await host_layouts(
                    [Path(d) for d in self.settings.host],
                    store=self.store,
                    metadata=self.metadata,
                    pin=self.store.pin,
                )
                self.private.confined.hosted(*hosted.blobs)
                await self._open(core, hosted, stop, ready)
                core.cancel_scope.cancel()
        finally:
            stop.set()

    async def _open(
        self, core: trio.Nursery, hosted: Hosted, stop: trio.Event, ready: Callable[[ReadyInfo], None]
    ) -> None:
        parts = FrontEndParts(
            upstreams=self.upstreams,
            transfer=self.engine,
            store=self.store,
            metadata=self.metadata,
            content=self.content,
            origins=self.origins,
            references=self.routes,
            destination=lambda name: Pusher(self.origins.find(name).session),
            layouts=hosted,
            announce=self.private.told,
            taken=self.private.taken,
            privacy=self.private.front_end,
            node=self.identity.name,
            rng=self.rng,
        )
        await core.start(self.scrubber.run)
        # Its tasks end before what they stand on is closed.
        async with open_front_end(self.settings, parts) as front_end, trio.open_nursery() as running:
            await front_end.start(running)
            await self._serve(core, front_end, stop, ready)
            await front_end.notifications.stop()
            running.cancel_scope.cancel()

    async def _serve(
        self, core: trio.Nursery, front_end: FrontEnd, stop: trio.Event, ready: Callable[[ReadyInfo], None]
    ) -> None:
        registry = front_end.registry
        self.prefetcher = Prefetcher(
            upstreams=registry.upstreams,
            puller=registry.puller,
            transfer=self.engine,
            pin=self.store.pin,
            report=self.tracker.report if self.tracker is not None else lambda _: None,
        )
        await core.start(self.prefetcher.run)
        servers: dict[str, Server] = {}
        metrics = Metrics(
            Readings(
                transfer=self.engine.statistics,
                store=self.store.statistics,
                requests=lambda: registry.statistics,
                confined=lambda: len(self.private.confined),
                discovery=self.ways.states,
                dht=self.ways.dht_statistics,
                collection=front_end.hosting.intake.statistics,
                uploads=front_end.hosting.open_uploads,
                sinks=front_end.notifications.statistics,
                lost=lambda: front_end.notifications.lost,
                scrub=self.scrubber.statistics,
                servers=lambda: {role: server.statistics() for role, server in servers.items()},
            ),
            node=self.identity.name,
            version=__version__,
        )
        upkeep = Upkeep(intake=front_end.hosting.intake, scrubber=self.scrubber, store=self.store)
        allowed = (*LOOPBACK_HOSTS, *self.settings.registry.allowed_hosts, *self._own_hosts("registry"))
        handlers = {
            "registry": guard_hosts(registry.handle, allowed),
            "peer": self.seeder.handle,
            "metrics": health_handler(metrics.render, {"store": self._check_store}),
            "admin": admin_handler(lambda: self._status(registry), self._explain, upkeep),
        }
        limits = {"registry": self.settings.registry.limits, "peer": self.settings.peer.limits}
        async with trio.open_nursery() as serving:
            for role, handler in handlers.items():
                tls = front_end.tls if role == "registry" else None
                servers[role] = await serving.start(
                    partial(serve, handler, self.listeners[role], limits.get(role), tls=tls)
                )
            gc.collect()
            gc.freeze()  # what start-up made stays: no collection need look at it again
            ready(self._ready())
            log.info("ready", **{role: self._address(role) for role in handlers})
            await stop.wait()
            log.info("stopping")
            for server in servers.values():
                server.stop()
        log.info("stopped")

    # ── glue ───────────────────────────────────────────────────────────────────────────────────────

    def _intent(self, message: Intent | IntentCancel) -> None:
        if self.prefetcher is not None:
            self.prefetcher.take(message)

    def _check_store(self) -> str | None:
        return None if self.store.statistics().healthy else "the store failed to write; see the log"

    def _address(self, role: str) -> str:
        return self.listeners[role][0].address

    def _own_hosts(self, role: str) -> tuple[str, ...]:
        return tuple(listener.address for listener in self.listeners[role])

    def _ready(self) -> ReadyInfo:
        admin = str(Path(self.settings.state, ADMIN).absolute())
        return ReadyInfo(
            event="ready",
            name=self.identity.name,
            node=self.identity.node,
            registry=self._address("registry"),
            peer=self._address("peer"),
            metrics=self._address("metrics"),
            admin=admin,
        )

    def _status(self, registry: Registry) -> Status:
        return Status(
            node=self.identity.node,
            name=self.identity.name,
            version=__version__,
            addresses={role: self._address(role) for role in self.listeners},
            uptime=trio.current_time() - self.started,
            discovery=self.ways.states(),
            dht=self.ways.dht_statistics(),
            transfer=self.engine.statistics(),
            store=self.store.statistics(),
            requests=RequestReport.of(registry.statistics),
            swarms=tuple(SwarmStatus.of(one) for one in self.engine.swarms()),
        )

    async def _explain(self, digest: Digest) -> Mapping[str, object]:
        stored = self.store.find(digest)
        known = {"known_peers": len(self.static.nodes()), "discovery": self.ways.states()}
        about = {**known, **self.private.explain(digest)}
        return explained(digest, stored, self.engine.explain(digest), about)
