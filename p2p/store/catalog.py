"""What the store holds, in memory: lookups in constant time, the order of use, and the sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from p2p.store.api import StoredBlob
from p2p.store.eviction import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2p.core.oci.digest import Digest


@dataclass(slots=True)
class Growing:
    """A partial blob: ``size`` in bytes, ``written`` of them on disk.

    ``owned``: somebody has it open, and its whole size is reserved; else only what is written counts.
    """

    size: int
    written: int
    owned: bool = False

    @property
    def charge(self) -> int:
        """Bytes that count against the quota."""
        return self.size if self.owned else self.written


@dataclass(slots=True)
class Uploading(Growing):
    """An upload: ``size`` is what is reserved by now."""

    session: str = ""
    algorithm: str = "sha256"

    @property
    def subject(self) -> str:
        """What errors call it."""
        return f"upload {self.session}"


class Catalog:
    """Complete and partial blobs, least recently used first. No I/O; owned by one thread.

    ``blob_bytes``: the sum of all complete ones; ``evicted``: how many went to make room; ``uploads``, by
    session, count as partial ones do and are never evicted.
    """

    def __init__(self) -> None:
        # Insertion order is the order of use; `_growing` holds the few partial ones once more.
        self._items: dict[Digest, StoredBlob | Growing] = {}
        self._growing: dict[Digest, Growing] = {}
        self._pins: set[Digest] = set()
        self.uploads: dict[str, Uploading] = {}
        self.blob_bytes = 0
        self.evicted = 0

    def find(self, digest: Digest) -> StoredBlob | None:
        """Look up a complete blob and count it as used."""
        item = self._items.get(digest)
        if not isinstance(item, StoredBlob):
            return None
        del self._items[digest]
        self._items[digest] = item
        return item

    def peek(self, digest: Digest) -> StoredBlob | None:
        """Look up a complete blob without using it."""
        item = self._items.get(digest)
        return item if isinstance(item, StoredBlob) else None

    def growing(self, digest: Digest) -> Growing | None:
        """Look up a partial blob."""
        return self._growing.get(digest)

    def put(self, digest: Digest, size: int) -> StoredBlob:
        """Enter a complete blob as the most recently used; it takes the place of a partial one."""
        self.drop(digest)
        blob = StoredBlob(digest, size, digest in self._pins)
        self._items[digest] = blob
        self.blob_bytes += size
        return blob

    def grow(self, digest: Digest, growing: Growing) -> None:
        """Enter a partial blob as the most recently used."""
        self.drop(digest)
        self._items[digest] = self._growing[digest] = growing

    def drop(self, digest: Digest) -> None:
        """Forget a blob; its pin stays."""
        item = self._items.pop(digest, None)
        self._growing.pop(digest, None)
        if isinstance(item, StoredBlob):
            self.blob_bytes -= item.size

    def pin(self, digest: Digest, *, pinned: bool) -> None:
        """Pin or unpin a digest, whether or not it is here."""
        if pinned:
            self._pins.add(digest)
        else:
            self._pins.discard(digest)
        item = self._items.get(digest)
        if isinstance(item, StoredBlob):
            self._items[digest] = replace(item, pinned=pinned)

    def pinned(self, digest: Digest) -> bool:
        """Whether a digest is pinned, here or not."""
        return digest in self._pins

    def blobs(self) -> Iterator[StoredBlob]:
        """Yield complete blobs, least recently used first."""
        return (item for item in self._items.values() if isinstance(item, StoredBlob))

    def partials(self) -> Iterator[tuple[Digest, Growing]]:
        """Yield partial blobs, least recently used first."""
        return iter(self._growing.items())

    def reserved(self) -> int:
        """Bytes that partial blobs and uploads take of the quota."""
        return sum(growing.charge for growing in self._unfinished())

    def outstanding(self) -> int:
        """Bytes that are reserved and not yet on disk."""
        return sum(g.size - g.written for g in self._unfinished() if g.owned)

    def candidates(self) -> Iterator[Candidate[Digest]]:
        """Yield what may be evicted, least recently used first: neither pinned nor growing now."""
        for digest, item in self._items.items():
            if digest in self._pins:
                continue
            if isinstance(item, StoredBlob):
                yield Candidate(digest, item.size)
            elif not item.owned:
                yield Candidate(digest, item.written)

    def _unfinished(self) -> Iterator[Growing]:
        return chain(self._growing.values(), self.uploads.values())
