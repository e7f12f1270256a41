"""The shared content as the origin of what is hosted: where the bytes come from that no node has."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from p2p.errors import ContentError, ContentMissingError, LocalError, OriginNotFoundError

if TYPE_CHECKING:
    from p2p.content.api import ContentBody, SharedContent
    from p2p.core.oci.digest import Digest
    from p2p.metadata.hosting import PlaceRecords
    from p2p.origin.api import Kind


class SharedOrigin:
    """A ``Source`` of hosted blobs: by digest, whatever the repository, for who asks has been let in."""

    def __init__(self, content: SharedContent, records: PlaceRecords) -> None:
        self.name = content.name
        self._content = content
        self._records = records

    @asynccontextmanager
    async def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AsyncGenerator[ContentBody]:
        """See ``Source``. OriginNotFoundError: not hosted any more. Else ContentError."""
        del path, kind
        async with AsyncExitStack() as stack:
            yield await self._opened(stack, digest, offset, stop)

    async def _opened(
        self, stack: AsyncExitStack, digest: Digest, offset: int, stop: int | None
    ) -> ContentBody:
        key = await self._key(digest)
        while True:
            try:
                return await stack.enter_async_context(self._content.open(key, offset, stop))
            except ContentMissingError as error:
                gone, key = key, await self._key(digest)
                if key == gone:
                    raise ContentMissingError(
                        self.name,
                        f"{digest} is hosted, and its object {key} is missing",
                        "Push it again, or restore what was deleted there",
                        retry_after=error.retry_after,
                    ) from error
                # It was collected and pushed again: it lies elsewhere now.

    async def _key(self, digest: Digest) -> str:
        try:
            key = await self._records.place(digest)
        except LocalError as error:
            raise ContentError(self.name, f"where {digest} lies can't be asked: {error}") from error
        if key is None:
            raise OriginNotFoundError(self.name, f"{digest} is not hosted any more")
        if not key:
            raise ContentError(
                self.name,
                f"{digest} is not there yet",
                "The front end that it was pushed to copies it there when it runs with hosting.content",
            )
        return key
