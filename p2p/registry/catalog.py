"""What is hosted, read from the beginning: for extensions that build an index of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.reference import Repository
from p2p.errors import ContentMissingError, OriginNotFoundError
from p2p.metadata.hosting import HOSTED
from p2p.origin.api import Kind
from p2p.registry.spans import closing, read_part
from p2p.transfer.api import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.metadata.api import Metadata
    from p2p.metadata.hosting import ManifestRecords
    from p2p.store.api import Store
    from p2p.transfer.api import Transfer

_LOOP: Final = 1 << 16
"""Bytes that are read on the loop: a thread hop costs more."""


class HostedCatalog:
    """A ``Catalog`` over metadata and store. ``transfer`` gets what is not in this node's store."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        records: ManifestRecords,
        store: Store,
        transfer: Transfer | None = None,
    ) -> None:
        self._metadata = metadata
        self._records = records
        self._store = store
        self._transfer = transfer

    async def repositories(self, n: int, last: str = "") -> Sequence[Repository]:
        """Give up to ``n`` repositories that have a tag, after the path ``last``, in order."""
        return [Repository(HOSTED, path) for path in await self._metadata.repositories(HOSTED, n, last)]

    async def tags(self, repository: Repository, n: int, last: str = "") -> Sequence[tuple[str, Descriptor]]:
        """Give up to ``n`` tags after ``last``, in order, with the manifest of each; none: it was the end."""
        found: list[tuple[str, Descriptor]] = []
        while not found and (names := await self._metadata.tags(repository, n, last)):
            for tag in names:
                row = await self._metadata.tag(repository, tag)
                if row is not None:  # it may have gone meanwhile
                    found.append((tag, row.target))
            last = names[-1]
        return found

    async def referrers(
        self, repository: Repository, subject: Digest, n: int, last: str = ""
    ) -> Sequence[Descriptor]:
        """Give up to ``n`` manifests with this subject, by digest after ``last``."""
        return await self._records.referrers(repository, subject, None, n, last)

    async def read(self, repository: Repository, digest: Digest, limit: int) -> bytes | None:
        """Give a manifest or a small blob; None where it is not there or longer than ``limit``.

        RemoraError where it may come later: from what front ends share.
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
