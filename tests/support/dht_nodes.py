"""Real DHT nodes in one trio run: UDP sockets on loopback, real seals and signatures."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm.events import LeaseLost, Planned
from p2p.core.wire.common import Holding
from p2p.discovery.dht.crypto import SigningKey
from p2p.discovery.dht.service import DhtDiscovery, DhtIdentity
from p2p.discovery.dht.udp import UdpSockets, open_sockets

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.digest import Digest

KEY = hashlib.sha256(b"the tests' cluster").digest()
PEER_PORT = 7001


@dataclass
class DhtNode:
    """One of them; leaving its nursery's scope stops it."""

    discovery: DhtDiscovery
    sockets: UdpSockets
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def address(self) -> str:
        return self.sockets.address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with self.scope:
                await self.discovery.run(task_status=task_status)
        finally:
            self.sockets.close()

    def stop(self) -> None:
        """As a kill does: no word to anybody, and the port is closed."""
        self.scope.cancel()


def make(number: int, *, listen: str = "127.0.0.1:0", ring: tuple[bytes, ...] = (KEY,), **options) -> DhtNode:
    """A node that does not run yet."""
    key = SigningKey(hashlib.sha256(b"node %d" % number).digest())
    identity = DhtIdentity(f"{number:032x}", key, "", PEER_PORT + number)
    sockets = open_sockets([listen] if isinstance(listen, str) else listen)
    discovery = DhtDiscovery(identity, sockets, ring=ring, rng=random.Random(number), **options)
    return DhtNode(discovery, sockets)


@asynccontextmanager
async def running(count: int, **options) -> AsyncIterator[list[DhtNode]]:
    """So many nodes that know each other by the first one; all sockets are closed at the end."""
    nodes: list[DhtNode] = []
    try:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                bootstrap = (nodes[0].address,) if nodes else ()
                nodes.append(make(number, bootstrap=bootstrap, **options))
                await nursery.start(nodes[-1].run)
            yield nodes
            nursery.cancel_scope.cancel()
    finally:
        for node in nodes:
            node.sockets.close()


async def until(condition: Callable[[], object], seconds: float = 8.0) -> None:
    """Wait for a condition on nodes of this run."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of the code under test have no event
            await trio.sleep(0.005)


def complete(digest: Digest) -> Holding:
    return Holding(str(digest), 1, 1, True)


class Plans:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[Planned] = []

    def __call__(self, news: Planned | LeaseLost) -> None:
        assert isinstance(news, Planned)
        self.all.append(news)

    @property
    def ports(self) -> set[int]:
        return {one.port for plan in self.all for one in plan.providers}


def state_file(directory: Path, number: int = 0) -> Path:
    return directory / f"dht-contacts-{number}.json"
