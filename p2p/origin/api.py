"""The origin's seam: one upstream registry, as the node needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.origin.credentials import Credential
    from p2p.origin.readable import Readable


class Kind(Enum):
    """Which endpoint serves a digest: ``/blobs/`` or ``/manifests/``."""

    BLOB = "blobs"
    MANIFEST = "manifests"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or another small answer, byte-exact. ``headers`` lower-case names."""

    media_type: str
    data: bytes
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200


class OriginBody(Protocol):
    """Bytes of a digest, in order, from ``offset``.

    ``size`` is the whole content's size in bytes as the origin states it, known before the first byte;
    ``media_type`` its Content-Type.
    """

    size: int
    offset: int
    media_type: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes of any length until the end; raises OriginError when they stop short or run over."""
        ...

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the body reaches; gives how many bytes. Raises as iterating does."""
        ...


class Source(Protocol):
    """What gives the bytes of a digest. All errors are ``OriginError``s that name it."""

    name: str

    def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[OriginBody]:
        """Open bytes ``[offset, stop)`` of a digest, in order, ``stop`` None for the end.

        Uses several parallel ranges inside, within its memory budget, where the upstream has them and
        the content is large; the caller sees one ordered stream either way. Digest is not checked here.
        """
        ...


class Origin(Source, Protocol):
    """One upstream registry. Safe for concurrent use.

    ``path`` is the repository's path at that upstream ("library/nginx").
    """

    async def head(self, path: str, reference: str) -> Descriptor:
        """HEAD a manifest by tag or digest: digest, size and media type (GET where HEAD lacks a digest)."""
        ...

    async def referrers(self, path: str, digest: Digest, artifact_type: str | None) -> Fetched:
        """Give the referrers index, falling back to the tag schema where the API is missing."""
        ...

    async def tags(self, path: str, n: int | None, last: str | None) -> Fetched:
        """Give one page of the tag list, with its ``Link`` header."""
        ...


class Gate(Protocol):
    """The same upstream, as who may read what. Safe for concurrent use; raises nothing."""

    async def holds_credentials(self) -> bool:
        """Whether this node has credentials for it."""
        ...

    async def readable(
        self, path: str, wanted: tuple[Kind, str] | None, credential: Credential | None
    ) -> Readable:
        """Whether somebody with these credentials (None: without any) may read the repository at ``path``.

        ``wanted``, a kind and a digest or tag, is asked for first. The credentials are sent to the upstream
        and to its own token realm alone, and are not kept.
        """
        ...


Content: TypeAlias = Callable[[int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens a content at an offset in bytes, as often as it takes: its bytes from there to the end, in order."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a manifest; ``subject`` whether the registry lists it as a referrer by itself."""

    digest: Digest
    subject: bool = False


class Destination(Protocol):
    """One registry that is written to. All errors are ``OriginError``s that name it. For concurrent use.

    ``path`` is the repository's path at that registry.
    """

    name: str

    async def has_blob(self, path: str, digest: Digest) -> bool:
        """Whether the repository has a blob already."""
        ...

    async def mount(self, path: str, digest: Digest, source: str) -> bool:
        """Take a blob over from the repository ``source`` of the same registry; False where it doesn't."""
        ...

    async def upload_blob(self, path: str, blob: Descriptor, content: Content) -> int:
        """Upload a blob of known digest and size, resumed where it breaks; gives the bytes that were sent.

        VerificationError, and no blob, where the content does not match; errors of ``content`` pass through.
        """
        ...

    async def put_manifest(
        self, path: str, manifest: Descriptor, data: bytes, tags: Sequence[str] = ()
    ) -> Stored:
        """Put a manifest under these tags, or by its digest where there are none."""
        ...
