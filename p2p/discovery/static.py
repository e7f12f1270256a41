"""Peers known without a tracker: those configured by address, and those that links have met.

A configured peer's node id is unknown until a link to it greets. Until then it stands in plans under the
placeholder ``static:host:port``; ``add_known`` replaces that when the link tells who answers there.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm.events import LeaseState, Planned
from p2p.core.swarm.herald import weight
from p2p.core.wire.common import Holding, Provider
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.core.oci.digest import Digest
    from p2p.discovery.api import Sink

PREFIX = "static:"
CAPACITY = 1024
PLAN_SIZE = 30

COMMON = 4
"""Met peers that all nodes rank first for a digest."""


def parse_address(text: str) -> tuple[str, int]:
    """Read ``host:port`` (IPv6 in brackets); ConfigError where it is anything else."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    plain = bool(host) and not any(char.isspace() or char in "/[]@" for char in host)
    if not colon or not plain or (":" in host and not bracketed) or not _is_port(port):
        raise ConfigError(f"static peer {text!r}", "is not host:port", "Write it like node-7.example:5001")
    return host, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536


class StaticPeers:
    """Configured and met peers as a way of discovery. It knows nobody's holdings: all are candidates.

    ``addresses`` are ``host:port``; ``own`` is this node's id, which is never named. At most ``capacity``
    met peers are kept, least recently met out first; configured ones always are.
    """

    def __init__(self, addresses: Iterable[str] = (), *, own: str = "", capacity: int = CAPACITY) -> None:
        self._own = own
        self._capacity = capacity
        self._configured: dict[tuple[str, int], Provider] = {}
        for text in addresses:
            host, port = parse_address(text)
            self._configured[host, port] = Provider(f"{PREFIX}{host}:{port}", f"{host}:{port}", host, port)
        self._met: OrderedDict[str, Provider] = OrderedDict()
        self._places: Counter[tuple[str, int]] = Counter()
        """The addresses of the met ones: in the DHT one hears of a thousand, each several times."""
        self._pending: deque[tuple[Sink, Planned]] = deque()
        self._wake = trio.Event()

    @property
    def available(self) -> bool:
        """Whether anybody is known."""
        return bool(self._configured or self._met)

    def add_known(self, provider: Provider) -> None:
        """Take a peer that a link has met, under the address that was dialled or that it greets with."""
        address = (provider.host, provider.port)
        if provider.node == self._own:
            # A configured address that leads back here: the same list is handed to every node.
            self._configured.pop(address, None)
            return
        known = Provider(provider.node, provider.name, provider.host, provider.port, zone=provider.zone)
        if address in self._configured:
            self._configured[address] = known
            return
        self.forget(provider.node)
        self._met[provider.node] = known
        self._places[address] += 1
        while len(self._met) > self._capacity:
            self.forget(next(iter(self._met)))

    def add_hint(self, provider: Provider) -> None:
        """Take a peer that somebody else speaks of, unless its id or its address is known already."""
        address = (provider.host, provider.port)
        if provider.node in self._met or address in self._places or address in self._configured:
            return
        if all(one.node != provider.node for one in self._configured.values()):
            self.add_known(provider)

    def forget(self, node: str) -> None:
        """Drop a met peer (it does not answer any more); a configured one stays."""
        before = self._met.pop(node, None)
        if before is not None:
            address = (before.host, before.port)
            self._places[address] -= 1
            if not self._places[address]:
                del self._places[address]

    def configured(self) -> tuple[Provider, ...]:
        """Give the configured peers, in the order of configuration."""
        return tuple(self._configured.values())

    def nodes(self) -> tuple[str, ...]:
        """Give the node ids of all that are known, placeholders included."""
        return tuple(dict.fromkeys([*(one.node for one in self._configured.values()), *self._met]))

    def providers(self, digest: str, unreachable: frozenset[str] = frozenset()) -> tuple[Provider, ...]:
        """Rank candidates for a digest: configured peers, then met ones spread by a hash; at most 30.

        ``COMMON`` of these come first for all nodes that know them, so that the few who want the same blob
        find each other. The others are each node's own: else a crowd would be served by the same few.
        """
        common = sorted(self._met.values(), key=lambda one: weight(one.node, digest))
        own = sorted(common[COMMON:], key=lambda one: weight(f"{self._own} {one.node}", digest))
        ranked = {one.node: one for one in (*self._configured.values(), *common[:COMMON], *own)}
        return tuple(one for one in ranked.values() if one.node not in unreachable)[:PLAN_SIZE]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver answers until cancelled."""
        task_status.started()
        while True:
            while self._pending:
                sink, planned = self._pending.popleft()
                sink(planned)
            self._wake = trio.Event()
            await self._wake.wait()

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Answer once, from the run's task (never from inside this call); there are no changes later."""
        del lease
        providers = self.providers(str(digest), unreachable)
        self._pending.append(
            (sink, Planned(providers, LeaseState.UNASKED, exclusive=False, size=size, route="static"))
        )
        self._wake.set()

    def unwant(self, digest: Digest) -> None:
        """Nothing to end: a want is answered once."""

    def announce(self, holding: Holding) -> None:
        """Nobody to tell: peers ask by themselves."""
