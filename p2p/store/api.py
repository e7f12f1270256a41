"""The store's seam: complete blobs by digest, and partial ones that grow into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.bitfield import Bitfield
    from p2p.core.swarm.chunks import Layout
    from p2p.core.swarm.midstates import Midstates


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A complete, verified blob: ``size`` in bytes; ``pinned`` blobs are never evicted."""

    digest: Digest
    size: int
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts and bytes. ``capacity`` is the quota (0: none), ``free`` what the filesystem has left."""

    blobs: int
    blob_bytes: int
    partials: int
    reserved_bytes: int
    pinned_bytes: int
    capacity: int
    free: int
    evicted: int
    quarantined: int
    healthy: bool


class Partial(Protocol):
    """A blob that is not yet complete. One owner at a time; survives ``close`` and a crash.

    ``midstates`` is the adopted list, a prefix of the whole until it is full; ``have`` the chunks whose
    link held under it. ``fd`` may be read (sendfile) wherever ``have`` says so, and stays readable after
    ``commit`` for as long as the partial isn't closed.
    """

    digest: Digest
    layout: Layout

    @property
    def have(self) -> Bitfield:
        """Verified chunks (a live view; don't change it)."""
        ...

    @property
    def midstates(self) -> Midstates:
        """The adopted list."""
        ...

    @property
    def fd(self) -> int:
        """Descriptor of the data file, ``layout.size`` bytes long, sparse."""
        ...

    def adopt(self, midstates: Midstates) -> None:
        """Take a list that extends the adopted one; a prefix of that one changes nothing.

        ValueError where the two disagree.
        """
        ...

    async def write(self, first: int, data: memoryview) -> Sequence[bool]:
        """Verify consecutive chunks from ``first`` against the adopted list and write those that hold.

        ``data`` holds whole chunks (the blob's last may be short); one answer for each. One thread hop
        for all. The links must be known: ``first + k <= midstates.length`` for every chunk. Chunks
        already held are verified again but not written. Raises StoreError on a disk fault.
        """
        ...

    async def append(self, first: int, data: memoryview) -> bool:
        """Hash chunks that follow the list's end, in order, write them, and extend the list by them.

        ``first`` must equal ``midstates.length`` (or the last chunk, under a full list). For bytes that
        come in order from one source, the origin. False: the blob's end was reached and the digest does
        not match (nothing of this call is kept). One thread hop.
        """
        ...

    async def relink(self, midstates: Midstates) -> None:
        """Drop the adopted list for another one and verify the bytes on disk again under it.

        ``have`` afterwards is what holds. Nothing that holds under both is lost. An empty list keeps
        nothing (``midstates.length == 0``: only chunk 0 of a longer blob could hold; it is re-checked
        when the list grows again).
        """
        ...

    async def commit(self) -> StoredBlob:
        """Make it a complete blob: fdatasync, rename, directory fsync. All chunks must be held.

        Raises VerificationError if the chain is not closed (without libcrypto: if the whole hash
        differs), StoreUnhealthyError if the disk fails.
        """
        ...

    async def close(self) -> None:
        """Write the journal and let go; a later ``open_partial`` resumes. After ``commit`` it frees ``fd``.

        Shielded from cancellation; the second time a no-op.
        """
        ...

    async def discard(self) -> None:
        """Let go and delete; after ``commit`` the same as ``close``."""
        ...


class Store(Protocol):
    """Content by digest. Safe to use from one trio run; every method may be called concurrently."""

    def find(self, digest: Digest) -> StoredBlob | None:
        """Look up a complete blob, from memory: constant time, no I/O. Counts as a use (LRU)."""
        ...

    def open(self, digest: Digest) -> AbstractContextManager[int]:
        """Open a complete blob for reading: a descriptor that stays good though the blob be evicted.

        Raises KeyError if it is not complete here.
        """
        ...

    async def midstates(self, digest: Digest) -> Midstates:
        """Give the full midstate list of a complete blob (empty for one chunk, or if never known)."""
        ...

    async def open_partial(self, digest: Digest, size: int) -> Partial:
        """Begin or resume a partial blob; reserves its bytes, evicting if need be.

        Raises StoreFullError when there is no room, StoreUnhealthyError, VerificationError when a
        resumed one was begun with another size (it is discarded first; call again), StoreError when
        somebody has it open or it is complete, ValueError for a size that no blob can have.
        """
        ...

    async def remove(self, digest: Digest) -> None:
        """Delete a complete blob if it is there; open readers keep their bytes."""
        ...


class Upload(Protocol):
    """Bytes that a client sends, of a size and digest that nobody knows yet. One owner at a time.

    They are hashed while they arrive, so that nothing is read again at the end; the midstate list comes out
    of the same pass. Survives ``close`` and a crash: what was written before is hashed anew then, once.
    """

    session: str

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StoreFullError, StoreUnhealthyError, StoreError; ``size`` tells what was kept.

        Less than 1 MiB may wait in memory until more comes, or ``close``.
        """
        ...

    async def finish(self, digest: Digest, *, pin: bool = False) -> StoredBlob:
        """Make it the complete blob of this digest: fdatasync, rename, directory fsync. Ends the upload.

        ``pin``: pinned from its first moment, so that nothing evicts it before somebody refers to it.
        A blob that is here already is kept, and this one thrown away. VerificationError where the bytes have
        another digest: the upload stays as it is. Of another algorithm than it was begun with, all is hashed
        once more.
        """
        ...

    async def close(self) -> None:
        """Let go; ``Uploads.resume`` goes on. Shielded from cancellation; the second time a no-op."""
        ...

    async def discard(self) -> None:
        """Let go and delete."""
        ...


class Uploads(Protocol):
    """Uploads by session, a name of letters, digits, ``-`` and ``_`` that the caller makes up."""

    async def begin(self, session: str, algorithm: str = "sha256") -> Upload:
        """Start one. Raises StoreFullError, StoreUnhealthyError, StoreError where it is there already.

        ValueError for a session or an algorithm that none can have.
        """
        ...

    async def resume(self, session: str) -> Upload:
        """Go on with one. KeyError where there is none; StoreError where somebody has it open."""
        ...

    async def drop(self, session: str) -> None:
        """Delete one that nobody has open, if it is there; StoreError where somebody has."""
        ...

    def sessions(self) -> Sequence[str]:
        """Give all that are on disk, for the reconciliation at start."""
        ...
