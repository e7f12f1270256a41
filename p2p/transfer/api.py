"""The transfer's seam: what the front end, prefetch and the daemon ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from p2p.origin.api import Kind

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.net.message import FileSpan


@dataclass(frozen=True, slots=True)
class Wanted:
    """Content by digest, and where the origin has it. ``size`` in bytes, 0 where not known yet."""

    repository: Repository
    digest: Digest
    kind: Kind = Kind.BLOB
    size: int = 0


class BlobStream(Protocol):
    """One reader of one blob, complete or still arriving. ``size`` in bytes."""

    digest: Digest
    size: int

    def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield bytes ``[start, stop)`` in order as verified chunks arrive; asks for these chunks first.

        The blob's last chunk is withheld until every link holds. Raises OriginError, PeerError,
        StoreError or VerificationError when the blob can't be completed. Several ranges may be read
        from one stream, one after another.
        """
        ...


class Confinement(Protocol):
    """Digests that only private repositories reach: they go to no peer, and no peer is asked for them."""

    def __contains__(self, digest: object) -> bool:
        """Whether a digest is confined."""
        ...

    async def begin(self, repository: Repository, digest: Digest) -> None:
        """A repository's content is about to come in: confine it where that is private. LocalError."""
        ...

    async def proved(self, repository: Repository, digest: Digest) -> None:
        """The upstream gave it, or said that the repository has it. LocalError."""
        ...


@dataclass(slots=True)
class Sources:
    """Bytes of one blob or of many by where they came from."""

    cache: int = 0
    peers: int = 0
    origin: int = 0

    def pairs(self) -> tuple[tuple[str, int], ...]:
        """Give (name, bytes) pairs, for the wire."""
        return (("cache", self.cache), ("peers", self.peers), ("origin", self.origin))


@dataclass(frozen=True, slots=True)
class LimitReport:
    """One limit that is set: bytes a second, and seconds waited for it since the start, by all together."""

    limit: str
    rate_bytes: int
    waited_seconds: float


@dataclass(slots=True)
class TransferStatistics:
    """Counters since the start, and gauges; bytes, seconds, counts."""

    received_peers: int = 0
    received_origin: int = 0
    sent_peers: int = 0
    chunks_verified: int = 0
    chunks_refused: int = 0
    strikes: int = 0
    bans: int = 0
    swarms_done: int = 0
    swarms_failed: int = 0
    leases_taken: int = 0
    hedges: int = 0
    lazy: int = 0
    """Bytes of small ranges read from origins past the swarm; they count in ``received_origin`` too."""
    withheld: int = 0
    """Asks of peers for what is confined."""
    swarms: int = 0
    links: int = 0
    leases_held: int = 0
    readers: int = 0
    banned: dict[str, str] = field(default_factory=dict)
    """Node id → offence of those banned now."""
    limits: tuple[LimitReport, ...] = ()
    """The limits that are set."""


class Transfer(Protocol):
    """Gets content by digest into the store, from wherever it is, and lets readers follow."""

    def open(self, wanted: Wanted) -> AbstractAsyncContextManager[BlobStream]:
        """Open a reader: at once from the store, else by joining (or starting) the blob's swarm.

        Entering waits until the size is known. Leaving takes the reader out of the swarm, which goes on
        for others, or for a grace period. Any number of readers share one download.
        """
        ...

    async def ranges(self, wanted: Wanted, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes] | None:
        """Give small ranges ``[start, stop)`` of a large blob that is not here yet, without waiting for it.

        ``wanted.size`` must be known. None where ``open`` serves them as well or better: what is small, is
        here, or has no origin that answers.
        """
        ...

    async def fetch(self, wanted: Wanted, sources: Sources) -> None:
        """Get the whole blob into the store, in any order; counts into ``sources`` as bytes arrive.

        No client waits for it: until one asks for the same blob, the limit of prefetches holds.
        """
        ...

    def read_ahead(self, wanted: tuple[Wanted, ...]) -> None:
        """Hint that these will be asked for soon (the children of a manifest just served). Never fails."""
        ...

    def statistics(self) -> TransferStatistics:
        """Give a live view."""
        ...
