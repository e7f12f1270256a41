"""The front end's seams: the upstreams that it asks, and the counters that it shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from p2p.metadata.api import LinkRecords
from p2p.metadata.hosting import Hosting
from p2p.origin.api import Origin

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Accepted, Pushed
    from p2p.store.api import StoredBlob, Upload


class Upstream(Origin, Protocol):
    """An origin that also tells of a blob without giving it."""

    async def head_blob(self, path: str, digest: Digest) -> Descriptor:
        """HEAD a blob: its size, and proof that the repository reaches it. Raises OriginError."""
        ...


class OriginLookup(Protocol):
    """The configured upstreams."""

    def find(self, name: str) -> Upstream:
        """Give the upstream of this (canonical) name."""
        ...


class OwnedContent(Protocol):
    """The part of the store that hosted repositories need: bytes that stay."""

    def find(self, digest: Digest) -> StoredBlob | None:
        """Look up a complete blob."""
        ...

    def staying(self, digest: Digest) -> AbstractContextManager[None]:
        """Don't evict it meanwhile, here or yet to come; nothing of that outlives a crash."""
        ...

    async def pin(self, digest: Digest) -> None:
        """Never evict it."""
        ...

    async def unpin(self, digest: Digest) -> None:
        """Let it be evicted."""
        ...

    async def remove(self, digest: Digest) -> None:
        """Delete it if it is there; open readers keep their bytes."""
        ...


class OpenContent(OwnedContent, Protocol):
    """The same, to be read."""

    def open(self, digest: Digest) -> AbstractContextManager[int]:
        """Open a complete blob for reading; KeyError where it is not here."""
        ...


class Taking(Protocol):
    """What becomes of an upload that is whole: a blob of a hosted repository, or one of an upstream's."""

    def alone(self, repository: Repository, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Keep every other push of a digest out."""
        ...

    async def holds(self, digest: Digest) -> bool:
        """Whether the bytes are there for a mount."""
        ...

    async def take(
        self, repository: Repository, upload: Upload, digest: Digest, media_type: str
    ) -> StoredBlob:
        """Make an upload a blob. VerificationError where it has another digest; StoreError, OriginError."""
        ...

    async def accept(self, repository: Repository, upload: Upload, pushed: Pushed) -> Accepted:
        """Make an upload a manifest, unless that is refused. StoreError, OriginError."""
        ...


class Proofs(Protocol):
    """What is known of private content, for those who answer requests. See ``Confined``."""

    def __contains__(self, digest: object) -> bool:
        """Whether only private repositories reach a digest."""
        ...

    def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether a link of a repository may be believed as it stands."""
        ...

    async def begin(self, repository: Repository, digest: Digest) -> None:
        """A repository's content is about to come in. LocalError."""
        ...

    async def proved(self, repository: Repository, digest: Digest) -> None:
        """The upstream gave it, or said that the repository has it. LocalError."""
        ...


class HostingMetadata(Hosting, LinkRecords, Protocol):
    """What hosted repositories need of metadata."""


@dataclass(slots=True)
class RequestStatistics:
    """Counters since the start.

    ``requests`` by (route, status), the route being ``blob``, ``manifest``, ``tags``, …; ``sent`` bytes
    of blobs and manifests given to clients; ``hits`` and ``misses``: whether what a client asked for was
    complete here when it asked; ``stale_tags`` answered without their origin; ``private_refused``
    requests for private repositories from clients that proved nothing.
    """

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: int = 0
    hits: int = 0
    misses: int = 0
    stale_tags: int = 0
    private_refused: int = 0
