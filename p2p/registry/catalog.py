"""What is hosted, read from the beginning: for extensions that build an index of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.errors import ContentMissingError, OriginNotFoundError, PeerError
from p2p.metadata.api import LinkRecords
from p2p.metadata.hosting import HOSTED, ChangeRecords, PutRecords
from p2p.origin.api import Kind
from p2p.registry.spans import closing, read_part
from p2p.transfer.api import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Changed
    from p2p.store.api import Store
    from p2p.transfer.api import Transfer

_LOOP: Final = 1 << 16
"""Bytes that are read on the loop: a thread hop costs more."""
FETCH_SECONDS: Final = 30.0


class CatalogRecords(LinkRecords, ChangeRecords, PutRecords, Protocol):
    """What is needed of metadata."""


class HostedCatalog:
    """A ``Catalog`` over metadata and store. ``transfer`` gets what is not in this node's store."""

    def __init__(self, *, metadata: CatalogRecords, store: Store, transfer: Transfer | None = None) -> None:
        self._metadata = metadata
        self._store = store
        self._transfer = transfer

    async def name(self) -> str:
        """Name the database."""
        return await self._metadata.content_owner()

    async def changes(self, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        """Give up to ``n`` repositories by (time of the last change, path), those after ``after``."""
        return await self._metadata.changes(HOSTED, n, after)

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        """Give up to ``n`` manifests, tagged or not, by digest (as text) after ``last``."""
        return await self._metadata.manifests(repository, n, last)

    async def tags(self, repository: Repository, n: int, last: str = "") -> Sequence[tuple[str, Descriptor]]:
        """Give up to ``n`` tags after ``last``, in order, with the manifest of each."""
        return await self._metadata.tagged(repository, n, last)

    async def read(self, repository: Repository, digest: Digest, limit: int) -> bytes | None:
        """Give a manifest or a small blob; None where it is not there or longer than ``limit``.

        RemoraError where it may come later.
        """
        stored = self._store.find(digest)
        if stored is None and self._transfer is not None:
            return await self._fetched(self._transfer, repository, digest, limit)
        if stored is None or stored.size > limit or not await self._metadata.reaches(repository, digest):
            return None
        try:
            with self._store.open(digest) as fd:
                if stored.size <= _LOOP:
                    return os.pread(fd, stored.size, 0)
                return await trio.to_thread.run_sync(os.pread, fd, stored.size, 0)
        except KeyError:
            return None

    async def _fetched(
        self, transfer: Transfer, repository: Repository, digest: Digest, limit: int
    ) -> bytes | None:
        known = await self._metadata.describe(repository, digest)
        if known is None or known.size > limit:
            return None
        data = bytearray()
        with trio.move_on_after(FETCH_SECONDS):
            try:
                async with transfer.open(Wanted(repository, digest, Kind.BLOB, known.size)) as stream:
                    if stream.size > limit:
                        return None
                    async with closing(stream.spans(0, stream.size)) as spans:
                        async for span in spans:
                            data += read_part(span)
            except (OriginNotFoundError, ContentMissingError):
                return None  # deleted meanwhile, or lost: trying again changes nothing
            return bytes(data)
        raise PeerError(str(digest), f"it did not come within {FETCH_SECONDS:g} s")
