"""The toolkit's seam: where an image comes from; and what a listener is told on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.manifest import Manifest


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest with the bytes that its digest is of."""

    descriptor: Descriptor
    manifest: Manifest
    data: bytes


class Source(Protocol):
    """One repository at a node or a registry, or one layout. For concurrent use. Raises RemoraErrors."""

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> FetchedManifest:
        """Give a manifest by tag or digest, verified; VerificationError where it is another."""
        ...

    def blob(
        self, digest: Digest, offset: int
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """Open a blob at an offset: gives where the bytes really begin (there, or at 0), and the bytes."""
        ...

    async def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """List the manifests that have this one as their subject."""
        ...


@dataclass(frozen=True, slots=True)
class BlobBegan:
    """A blob of ``size`` bytes begins; ``held`` of them are there already, all where none need to move."""

    digest: Digest
    size: int
    held: int


@dataclass(frozen=True, slots=True)
class BlobAdvanced:
    """``held`` bytes of a blob are there now; fewer than before where it began anew."""

    digest: Digest
    held: int


Event: TypeAlias = BlobBegan | BlobAdvanced
Listener: TypeAlias = Callable[[Event], object]
"""Is told how a pull, push or copy goes; it must not block and what it returns is dropped."""


class Progress(Protocol):
    """Is told how a pull or push goes."""

    def begin(self, digest: Digest, size: int, held: int) -> None:
        """A blob of ``size`` bytes begins, ``held`` of them are here already."""
        ...

    def advance(self, digest: Digest, held: int) -> None:
        """``held`` bytes of it are here now (fewer than before where it began anew)."""
        ...


class Teller:
    """A `Progress` that makes events of it for a listener, or for nobody."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener

    def begin(self, digest: Digest, size: int, held: int) -> None:
        """Tell of a beginning."""
        if self._listener is not None:
            self._listener(BlobBegan(digest, size, held))

    def advance(self, digest: Digest, held: int) -> None:
        """Tell of an advance."""
        if self._listener is not None:
            self._listener(BlobAdvanced(digest, held))
