"""What every swarm's shell uses together: the store, the links, the origin, the counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.config import LimitSettings
from p2p.core.swarm.reputation import Reputation, Verdict
from p2p.errors import OriginProtocolError, VerificationError
from p2p.transfer.api import TransferStatistics
from p2p.transfer.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.core.wire.common import Provider
    from p2p.discovery.api import Discovery, Leases
    from p2p.origin.api import Source
    from p2p.store.api import Partial, Store
    from p2p.transfer.api import Wanted
    from p2p.transfer.buffers import BufferPool
    from p2p.transfer.fetch import PeerClient
    from p2p.transfer.holdings import Holdings
    from p2p.transfer.limits import Pacer
    from p2p.transfer.links import Links

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Parts:
    """Shared by the swarms of one node. ``stream``: chunks go to clients before the blob is proven."""

    store: Store
    holdings: Holdings
    links: Links
    client: PeerClient
    buffers: BufferPool
    discovery: Discovery
    leases: Leases
    origin: Callable[[Repository], Source]
    reputation: Reputation = field(default_factory=Reputation)
    statistics: TransferStatistics = field(default_factory=TransferStatistics)
    limits: Limits = field(default_factory=lambda: Limits(LimitSettings()))
    stream: bool = True

    def accuse(self, provider: Provider, offence: str, chunk: int, digest: Digest) -> None:
        """Strike a peer that was caught; log it, and on the second strike its ban, with its name."""
        self.statistics.strikes += 1
        now = trio.current_time()
        verdict = self.reputation.strike(provider.node, offence, now)
        self.client.forget((provider.host, provider.port))
        about = {
            "peer": provider.name or provider.node,
            "node": provider.node,
            "address": f"{provider.host}:{provider.port}",
            "offence": offence,
            "digest": str(digest),
            "chunk": chunk,
        }
        if verdict is Verdict.BAN:
            self.statistics.bans += 1
            log.warning("peer banned for an hour", **about)
        else:
            log.warning("peer disconnected", **about)
        self.statistics.banned = self.reputation.bans(now)

    async def open_partial(self, digest: Digest, size: int) -> Partial:
        """Begin or resume a partial blob; see ``Store.open_partial``.

        One that was begun with a size that somebody claimed once is begun anew.
        """
        try:
            return await self.store.open_partial(digest, size)
        except VerificationError:
            return await self.store.open_partial(digest, size)

    async def read_origin(
        self, wanted: Wanted, start: int, stop: int, buffer: memoryview, pacer: Pacer | None = None
    ) -> None:
        """Fill ``buffer`` with bytes ``[start, stop)`` of a blob from its origin.

        Raises OriginError; OriginProtocolError where the body is not exactly as long as it must be.
        """
        origin = self.origin(wanted.repository)
        path = wanted.repository.path
        async with origin.open(path, wanted.digest, wanted.kind, offset=start, stop=stop) as body:
            if pacer is None:
                at = await body.read_into(buffer)
            else:
                at = await pacer.fill(body, buffer, origin=True)
            with memoryview(bytearray(1)) as more:
                at += await body.read_into(more)
        if at != stop - start:
            raise OriginProtocolError(
                origin.name,
                f"gave {at} bytes for bytes {start}-{stop - 1} of {wanted.digest}",
                "The registry or a proxy before it handles ranges badly.",
            )
