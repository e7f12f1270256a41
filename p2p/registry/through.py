"""Push-through: what is pushed for an upstream is forwarded to it, kept here, and given to peers.

The upstream has the last word: a push is answered when it has taken it, and refused as it refuses. What is
kept is a cache like what was pulled: the upstream is its home.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.metadata.api import TagRow
from p2p.metadata.hosting import Accepted
from p2p.registry.locks import Locks
from p2p.transfer.confined import Unconfined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.api import Metadata
    from p2p.metadata.hosting import Pushed
    from p2p.origin.api import Content, Destination
    from p2p.registry.api import OpenContent, Proofs
    from p2p.store.api import StoredBlob, Upload

STEP: Final = 1 << 20
"""Bytes read and sent at once."""


class PushThrough:
    """``Taking`` for repositories of upstreams. ``destination`` gives the upstream of a registry's name."""

    def __init__(
        self,
        *,
        store: OpenContent,
        metadata: Metadata,
        destination: Callable[[str], Destination],
        announce: Callable[[Holding], None],
        proofs: Proofs | None = None,
    ) -> None:
        self._proofs = Unconfined() if proofs is None else proofs
        self._store = store
        self._metadata = metadata
        self._destination = destination
        self._announce = announce
        self._locks: Locks[tuple[Repository, Digest]] = Locks()

    def alone(self, repository: Repository, digest: Digest) -> AbstractAsyncContextManager[None]:
        """One push of a digest to a repository at a time: the second finds it there."""
        return self._locks.holding((repository, digest))

    async def holds(self, digest: Digest) -> bool:
        """Nothing is mounted from here: what the upstream has is the upstream's to say."""
        del digest
        return False

    async def take(
        self, repository: Repository, upload: Upload, digest: Digest, media_type: str
    ) -> StoredBlob:
        """Forward an upload. VerificationError where it has another digest; StoreError; OriginError."""
        async with self.alone(repository, digest):
            with self._store.staying(digest):
                await self._proofs.begin(repository, digest)
                blob = await upload.finish(digest)
                descriptor = Descriptor(media_type, digest, blob.size)
                there = self._destination(repository.registry)
                if not await there.has_blob(repository.path, digest):
                    await there.upload_blob(repository.path, descriptor, self._content(blob))
                await self._proofs.proved(repository, digest)
                await self._metadata.link(repository, (descriptor,))
        self._told(blob)
        return blob

    async def accept(self, repository: Repository, upload: Upload, pushed: Pushed) -> Accepted:
        """Forward a manifest under all its tags. The upstream checks what it is made of."""
        target = pushed.descriptor
        async with self.alone(repository, target.digest):
            with self._store.staying(target.digest):
                await self._proofs.begin(repository, target.digest)
                blob = await upload.finish(target.digest)
                data = await self._read(blob)
                there = self._destination(repository.registry)
                await there.put_manifest(repository.path, target, data, pushed.tags)
                await self._proofs.proved(repository, target.digest)
                await self._metadata.link(repository, (target, *pushed.manifest.children))
                row = TagRow(target.digest, target.media_type, target.size, datetime.now(UTC))
                for tag in pushed.tags:
                    await self._metadata.put_tag(repository, tag, row)
        self._told(blob)
        return Accepted()

    def _told(self, blob: StoredBlob) -> None:
        self._announce(Holding(str(blob.digest), blob.size, Layout(blob.size).count, True))

    async def _read(self, blob: StoredBlob) -> bytes:
        async with self._content(blob)(0) as parts:
            return b"".join([part async for part in parts])

    def _content(self, blob: StoredBlob) -> Content:
        @asynccontextmanager
        async def content(offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
            # The descriptor stays good though the blob be evicted meanwhile.
            with self._store.open(blob.digest) as fd:
                yield _Parts(fd, offset, blob.size)

        return content


class _Parts:
    """Bytes of an open file from ``offset`` to ``stop``; an iterator that may be left anywhere."""

    def __init__(self, fd: int, offset: int, stop: int) -> None:
        self._fd = fd
        self._at = offset
        self._stop = stop

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        wanted = min(STEP, self._stop - self._at)
        if wanted <= 0:
            raise StopAsyncIteration
        data = await trio.to_thread.run_sync(os.pread, self._fd, wanted, self._at)
        if not data:
            raise StopAsyncIteration  # shorter than it was: the receiver counts
        self._at += len(data)
        return data
