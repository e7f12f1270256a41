"""Digests whose files are being deleted or moved: until that is done nobody else touches them."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from p2p.core.oci.digest import Digest
    from p2p.store.workers import Workers


class Leaving:
    """Runs deletions. ``freeing``: bytes that the filesystem will have back when they are done."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._events: dict[Digest, trio.Event] = {}
        self._held: Counter[Digest] = Counter()
        self.freeing = 0

    def busy(self, digest: Digest) -> bool:
        """Whether files of this digest are on their way, or held here."""
        return digest in self._events or digest in self._held

    @contextmanager
    def staying(self, digest: Digest) -> Iterator[None]:
        """Choose it for no eviction meanwhile, in memory only: for who is about to pin it."""
        self._held[digest] += 1
        try:
            yield
        finally:
            self._held[digest] -= 1
            self._held += Counter()  # drops what is at zero

    @asynccontextmanager
    async def moving(self, digest: Digest) -> AsyncIterator[None]:
        """Be the only one who makes files of this digest a complete blob, or deletes them."""
        await self.settled(digest)
        done = self._events[digest] = trio.Event()
        try:
            yield
        finally:
            del self._events[digest]
            done.set()

    async def settled(self, digest: Digest) -> None:
        """Wait until no file of this digest is on its way."""
        while (event := self._events.get(digest)) is not None:
            await event.wait()

    async def run(self, digests: Sequence[Digest], size: int, work: Callable[[], None]) -> None:
        """Run the deletion of ``size`` bytes in a thread.

        Shielded, for it is bounded and nothing refers to these files any more. StoreError on a disk fault.
        """
        gone = trio.Event()
        self._events |= dict.fromkeys(digests, gone)
        self.freeing += size
        try:
            with trio.CancelScope(shield=True):
                await self._workers.disk(", ".join(map(str, digests)) or "the quarantine", work)
        finally:
            self.freeing -= size
            for digest in digests:
                del self._events[digest]
            gone.set()
