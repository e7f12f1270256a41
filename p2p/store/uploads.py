"""The uploads of a store: which there are, who has one open, and how one becomes a complete blob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.errors import StoreError
from p2p.store.catalog import Uploading
from p2p.store.paths import JOURNAL
from p2p.store.running import CELL, RunningHash
from p2p.store.upload import GatheredUpload
from p2p.store.upload_file import UploadFile

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.midstates import Midstates
    from p2p.store.api import StoredBlob
    from p2p.store.catalog import Catalog
    from p2p.store.chain import Chain
    from p2p.store.files import Files
    from p2p.store.paths import Paths
    from p2p.store.verify import LinkHasher
    from p2p.store.workers import Workers

RESTORED: Final = 8
"""Cells that one hop hashes anew at most, so that a resumption can be cancelled."""


class House(Protocol):
    """The store, as its uploads see it: room and complete blobs."""

    async def reserve(self, item: Uploading, more: int) -> None:
        """``upload.Owner.reserve``."""
        ...

    def moving(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """``upload.Owner.moving``."""
        ...

    def present(self, digest: Digest) -> StoredBlob | None:
        """``upload.Owner.present``."""
        ...

    async def pin(self, digest: Digest) -> None:
        """``upload.Owner.pin``."""
        ...


class StoredUploads:
    """``Uploads`` of a store, and the ``Owner`` of those that are open. The loop owns all state."""

    def __init__(
        self,
        files: Files,
        paths: Paths,
        workers: Workers,
        catalog: Catalog,
        hasher: LinkHasher,
        house: House,
        *,
        paranoid: bool,
    ) -> None:
        self._files = files
        self._paths = paths
        self._workers = workers
        self._catalog = catalog
        self._hasher = hasher
        self._paranoid = paranoid
        self.reserve = house.reserve
        self.moving = house.moving
        self.present = house.present
        self.pin = house.pin

    def found(self, uploads: Mapping[str, tuple[str, int]]) -> None:
        """Enter what a scan found: algorithm and size by session."""
        for session, (algorithm, size) in uploads.items():
            self._catalog.uploads[session] = Uploading(size, size, session=session, algorithm=algorithm)

    async def begin(self, session: str, algorithm: str = "sha256") -> GatheredUpload:
        """``Uploads.begin``."""
        path = self._paths.upload(algorithm, session)
        item = Uploading(0, 0, owned=True, session=session, algorithm=algorithm)
        self._workers.check(item.subject)
        if session in self._catalog.uploads:
            raise StoreError(item.subject, "was begun already", "Resume it, or take another session.")
        self._catalog.uploads[session] = item
        running = RunningHash(self._hasher, algorithm)
        try:
            await self.reserve(item, 0)
            file = await self._workers.disk(
                item.subject, UploadFile, self._files, self._paths, path, running, 0
            )
        except BaseException:
            del self._catalog.uploads[session]
            raise
        return self._upload(item, file, memoryview(bytearray(CELL)))

    async def resume(self, session: str) -> GatheredUpload:
        """``Uploads.resume``."""
        item = self._idle(session)
        if item is None:
            raise KeyError(session)
        self._workers.check(item.subject)
        item.owned = True
        try:
            return await self._restored(item)
        except FileNotFoundError:
            del self._catalog.uploads[session]
            raise KeyError(session) from None
        except BaseException:
            item.owned = False
            raise

    async def drop(self, session: str) -> None:
        """``Uploads.drop``."""
        item = self._idle(session)
        if item is None:
            return
        item.owned = True
        path = self._paths.upload(item.algorithm, session)
        try:
            with trio.CancelScope(shield=True):
                await self._workers.disk(item.subject, self._files.unlink, path)
        except BaseException:
            item.owned = False
            raise
        del self._catalog.uploads[session]

    def sessions(self) -> Sequence[str]:
        """``Uploads.sessions``."""
        return list(self._catalog.uploads)

    async def seal(
        self,
        item: Uploading,
        file: UploadFile,
        tail: memoryview,
        chain: Chain,
        midstates: Midstates,
        pin: bool,
    ) -> StoredBlob:
        """``Owner.seal``. Within ``moving``."""
        digest = chain.digest
        growing = self._catalog.growing(digest)
        leftovers = []
        if growing is not None and not growing.owned:
            leftovers = [self._paths.partial(digest, JOURNAL), self._paths.partial(digest)]
        mark = pin and not self._catalog.pinned(digest)
        await self._workers.disk(
            item.subject, file.seal, tail, digest, midstates, pin=mark, leftovers=leftovers
        )
        if mark:
            self._catalog.pin(digest, pinned=True)
        return self._catalog.put(digest, chain.layout.size)

    def let_go(self, item: Uploading, *, gone: bool) -> None:
        """``Owner.let_go``."""
        if gone:
            del self._catalog.uploads[item.session]
        else:
            item.size = item.written
            item.owned = False

    def _idle(self, session: str) -> Uploading | None:
        item = self._catalog.uploads.get(session)
        if item is not None and item.owned:
            raise StoreError(item.subject, "is in use", "Wait for the one who uploads.")
        return item

    async def _restored(self, item: Uploading) -> GatheredUpload:
        path = self._paths.upload(item.algorithm, item.session)
        running = RunningHash(self._hasher, item.algorithm)
        file = await self._workers.disk(item.subject, self._open, path, running)
        if file is None:
            raise FileNotFoundError(path)
        buffer = memoryview(bytearray(CELL))
        try:
            while not await self._workers.hash(item.subject, file.restore, buffer, RESTORED):
                pass
        except BaseException:
            file.close()
            raise
        upload = self._upload(item, file, buffer)
        item.size = max(file.end, upload.size)
        item.written = upload.size
        return upload

    def _open(self, path: Path, running: RunningHash) -> UploadFile | None:
        with suppress(FileNotFoundError):
            return UploadFile.found(self._files, self._paths, path, running)
        return None

    def _upload(self, item: Uploading, file: UploadFile, buffer: memoryview) -> GatheredUpload:
        return GatheredUpload(
            item, file, self._workers, self._hasher, self, paranoid=self._paranoid, buffer=buffer
        )
