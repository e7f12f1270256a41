"""An upload that somebody has open: what is gathered in memory, and the way to a complete blob."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.core.swarm.chunks import MAX_BLOB, Layout
from p2p.core.swarm.midstates import Midstates
from p2p.errors import StoreError, StoreFullError, VerificationError
from p2p.store.chain import Chain
from p2p.store.running import CELL
from p2p.store.scrub import rehash

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.store.api import StoredBlob
    from p2p.store.catalog import Uploading
    from p2p.store.upload_file import UploadFile
    from p2p.store.verify import LinkHasher
    from p2p.store.workers import Workers

HOP: Final = 4 * CELL
"""Bytes that one hop to a thread takes at most, so that other uploads get their turn."""

STEP: Final = 8 * CELL
"""Bytes that are reserved ahead at most."""


class Owner(Protocol):
    """The store, as an upload sees it."""

    async def reserve(self, item: Uploading, more: int) -> None:
        """Let it grow by so many bytes, evicting if need be. StoreFullError where nothing helps."""
        ...

    def moving(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Wait until nobody moves files of this digest, and keep others from it."""
        ...

    def present(self, digest: Digest) -> StoredBlob | None:
        """Give the complete blob, looked up on disk too."""
        ...

    async def seal(
        self,
        item: Uploading,
        file: UploadFile,
        tail: memoryview,
        chain: Chain,
        midstates: Midstates,
        pin: bool,
    ) -> StoredBlob:
        """Make it the complete blob of the chain's digest. StoreError."""
        ...

    async def pin(self, digest: Digest) -> None:
        """Never evict this one."""
        ...

    def let_go(self, item: Uploading, *, gone: bool) -> None:
        """Nobody has it open any more; ``gone``: nothing is left of it."""
        ...


class GatheredUpload:
    """``Upload`` over an ``UploadFile``. All state is the loop's; threads get buffers lent and answer.

    Whole cells are hashed and written in one hop, from the caller's own buffer where that is large enough.
    What is less than a cell waits in ``buffer``; the file's tail is in it. After a fault of the disk,
    ``size`` is what is on disk.
    """

    def __init__(
        self,
        item: Uploading,
        file: UploadFile,
        workers: Workers,
        hasher: LinkHasher,
        owner: Owner,
        *,
        paranoid: bool,
        buffer: memoryview,
    ) -> None:
        self.session = item.session
        self._item = item
        self._file = file
        self._workers = workers
        self._hasher = hasher
        self._owner = owner
        self._paranoid = paranoid
        self._buffer = buffer
        self._fill = file.tail
        self._lock = trio.Lock()
        self._open = True

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._file.running.length + self._fill

    async def write(self, data: bytes | memoryview) -> None:
        """Append."""
        async with self._lock:
            self._ready()
            rest = memoryview(data).cast("B")
            await self._reserve(self.size + rest.nbytes)
            while rest.nbytes:
                rest = rest[await self._take(rest) :]

    async def finish(self, digest: Digest, *, pin: bool = False) -> StoredBlob:
        """Make it the complete blob of this digest."""
        async with self._lock:
            self._ready()
            chain = Chain(digest, Layout(self.size), self._hasher)
            midstates = await self._verified(chain)
            try:
                async with self._owner.moving(digest):
                    stored = self._owner.present(digest)
                    if stored is None:
                        stored = await self._seal(chain, midstates, pin)
                    elif await self._give_up(digest, pin):
                        stored = self._owner.present(digest) or stored
            finally:
                if self._file.gone:
                    self._end()
            return stored

    async def close(self) -> None:
        """Write what is gathered and let go."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                if not self._open:
                    return
                try:
                    if self._fill != self._file.tail or self._file.end > self.size:
                        self._workers.check(self._item.subject)
                        await self._keep()
                finally:
                    self._fill = self._file.tail
                    self._end()

    async def discard(self) -> None:
        """Let go and delete."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                if not self._open:
                    return
                try:
                    await self._workers.disk(self._item.subject, self._file.delete)
                finally:
                    self._end()

    def _ready(self) -> None:
        # First: a sync that failed has ended the upload, and whoever goes on with it should hear why.
        self._workers.check(self._item.subject)
        if not self._open:
            raise RuntimeError(f"{self._item.subject} is closed")

    def _end(self) -> None:
        self._open = False
        self._file.close()
        self._item.written = self.size
        self._owner.let_go(self._item, gone=self._file.gone)

    async def _reserve(self, size: int) -> None:
        if size > MAX_BLOB:
            raise StoreFullError(self._item.subject, f"has more than {MAX_BLOB:,} bytes", "No blob may.")
        need = size - self._item.size
        if need <= 0:
            return
        ahead = min(STEP, self._item.size)
        try:
            await self._owner.reserve(self._item, max(need, ahead))
        except StoreFullError:
            if ahead <= need:
                raise
            await self._owner.reserve(self._item, need)

    async def _take(self, data: memoryview) -> int:
        if not self._fill and data.nbytes >= CELL:
            count = min(HOP, data.nbytes - data.nbytes % CELL)
            await self._hop(data[:count])
            return count
        count = min(CELL - self._fill, data.nbytes)
        self._buffer[self._fill : self._fill + count] = data[:count]
        self._fill += count
        if self._fill == CELL:
            await self._hop(self._buffer)
        return count

    async def _hop(self, cells: memoryview) -> None:
        try:
            await self._workers.hash(self._item.subject, self._file.take, cells)
        except StoreError:
            self._fill = self._file.tail
            raise
        self._fill = 0
        self._item.written = self._file.running.length

    async def _keep(self) -> None:
        try:
            await self._workers.disk(self._item.subject, self._file.keep, self._buffer[: self._fill])
        except StoreError:
            self._fill = self._file.tail
            raise

    async def _verified(self, chain: Chain) -> Midstates:
        """Give the list of the whole. VerificationError where the digest differs."""
        running, digest = self._file.running, chain.digest
        midstates = None
        if digest.algorithm == running.algorithm:
            raw = await self._workers.hash(self._item.subject, running.digest, self._buffer[: self._fill])
            if raw != digest.raw:
                raise self._differs(digest)
            midstates = running.midstates(chain.layout)
            if not self._paranoid:
                return midstates
        await self._keep()
        found = await rehash(self._workers, self._file.files, chain, self._file.fd, cold=self._paranoid)
        if not found.holds:
            raise self._differs(digest)
        return Midstates(digest.algorithm, found.states)

    def _differs(self, digest: Digest) -> VerificationError:
        return VerificationError(
            str(digest),
            f"the {self.size:,} bytes that were uploaded have another digest",
            "Upload them again.",
        )

    async def _seal(self, chain: Chain, midstates: Midstates, pin: bool) -> StoredBlob:
        tail = self._buffer[: self._fill]
        try:
            return await self._owner.seal(self._item, self._file, tail, chain, midstates, pin)
        except StoreError:
            self._fill = self._file.tail
            raise

    async def _give_up(self, digest: Digest, pin: bool) -> bool:
        """Throw it away, since the blob is here already; gives whether that one was pinned now."""
        if pin:
            await self._owner.pin(digest)
        # The blob is here and that is what counts: a file that stays is found at the next start.
        with suppress(StoreError):
            await self._workers.disk(self._item.subject, self._file.delete)
        return pin
