"""The origin's seam: one upstream registry, as the node needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest


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


class Origin(Protocol):
    """One upstream registry. All errors are ``OriginError``s that name it. Safe for concurrent use.

    ``path`` is the repository's path at that upstream ("library/nginx").
    """

    name: str

    async def head(self, path: str, reference: str) -> Descriptor:
        """HEAD a manifest by tag or digest: digest, size and media type (GET where HEAD lacks a digest)."""
        ...

    def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[OriginBody]:
        """Open bytes ``[offset, stop)`` of a digest, in order, ``stop`` None for the end.

        Uses several parallel ranges inside, within its memory budget, where the upstream has them and
        the content is large; the caller sees one ordered stream either way. Digest is not checked here.
        """
        ...

    async def referrers(self, path: str, digest: Digest, artifact_type: str | None) -> Fetched:
        """Give the referrers index, falling back to the tag schema where the API is missing."""
        ...

    async def tags(self, path: str, n: int | None, last: str | None) -> Fetched:
        """Give one page of the tag list, with its ``Link`` header."""
        ...
