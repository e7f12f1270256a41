"""GET and HEAD of blobs: bytes as they come in, and nothing before the first of them is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.range import RangeNotSatisfiableError, parse_range
from p2p.core.swarm.chunks import MAX_BLOB
from p2p.net.ranged import range_header, ranged_response
from p2p.origin.api import Kind
from p2p.registry.replies import content_headers, not_modified
from p2p.registry.spans import closing, length_of
from p2p.transfer.api import Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.net.message import FileSpan, Request, Response
    from p2p.registry.access import Access
    from p2p.registry.api import RequestStatistics
    from p2p.registry.upstreams import Choice
    from p2p.store.api import Store
    from p2p.transfer.api import BlobStream, Transfer

CONTENT_TYPE: Final = "application/octet-stream"

_EMPTY: Final = frozenset(Digest.of(b"", algorithm) for algorithm in ("sha256", "sha512"))
"""The only digests for which a size of 0 is known rather than missing."""


class Blobs:
    """The blob endpoint of pulls. ``first_byte_timeout`` in seconds."""

    def __init__(
        self,
        *,
        transfer: Transfer,
        store: Store,
        access: Access,
        statistics: RequestStatistics,
        first_byte_timeout: float,
    ) -> None:
        self._transfer = transfer
        self._store = store
        self._access = access
        self._statistics = statistics
        self._timeout = first_byte_timeout

    async def answer(self, request: Request, choice: Choice, digest: Digest) -> Response:
        """Answer one GET or HEAD. Raises RemoraError."""
        with trio.move_on_after(self._timeout):
            return await self._answer(request, choice, digest)
        raise RegistryError(
            "UNAVAILABLE",
            f"{choice.repository}: no byte of {digest} came within {self._timeout:g} s",
            status=504,
            mend="The download goes on: try again",
        )

    async def _answer(self, request: Request, choice: Choice, digest: Digest) -> Response:
        found = await self._access.prove(choice.repository, digest, Kind.BLOB)
        unmodified = not_modified(request, choice, digest)
        if unmodified is not None:
            return unmodified
        stored = self._store.find(digest)
        if stored is None and choice.hosted and not choice.pushable:
            raise RegistryError("BLOB_UNKNOWN", f"hosted repository {choice.name} has no {digest} any more")
        size = found.size if stored is None else stored.size
        if size > MAX_BLOB:
            raise RegistryError("SIZE_INVALID", f"{digest} has {size} bytes, as is claimed", status=502)
        known = stored is not None or size > 0 or digest in _EMPTY
        wanted = Wanted(choice.repository, digest, Kind.BLOB, size)
        if request.method == "GET":
            self._statistics.hits += stored is not None
            self._statistics.misses += stored is None
        headers = content_headers(choice, digest)
        small = None
        if stored is None and known and request.method == "GET":
            small = await self._small(wanted, range_header(request, headers))
        if stored is None and small is None and not (request.method == "HEAD" and known):
            size = await self._first_bytes(request, wanted)

        def parts(start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
            return self._parts(wanted, start, stop) if small is None else self._given(small[start, stop])

        return ranged_response(request, size, headers=headers, parts=parts, content_type=CONTENT_TYPE)

    async def _small(self, wanted: Wanted, asked: str | None) -> dict[tuple[int, int], bytes] | None:
        """Read ranges that a lazy reader asks for; None where the request is another one.

        Who asks for all from a place on is going on with a download, and reads along with the swarm.
        """
        if asked is None or any(one.rstrip().endswith("-") for one in asked.split(",")):
            return None
        try:
            spans = parse_range(asked, wanted.size)
        except RangeNotSatisfiableError:
            return None
        if spans is None:
            return None
        ranges = [(span.start, span.stop) for span in spans]
        found = await self._transfer.ranges(wanted, ranges)
        return None if found is None else dict(zip(ranges, found, strict=True))

    async def _given(self, data: bytes) -> AsyncIterator[bytes]:
        self._statistics.sent += len(data)
        yield data

    async def _first_bytes(self, request: Request, wanted: Wanted) -> int:
        """Wait until the answer's first bytes are here, so that a failure before them has a status.

        The reader leaves at once: its swarm goes on, for a grace period at least, and the body joins it
        again when it is sent. Gives the blob's size.
        """
        async with self._transfer.open(wanted) as stream:
            start = _first_byte(request, stream)
            async with closing(stream.spans(start, stream.size)) as spans:
                async for _ in spans:
                    break
            return stream.size

    async def _parts(self, wanted: Wanted, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        async with self._transfer.open(wanted) as stream, closing(stream.spans(start, stop)) as spans:
            async for part in spans:
                # Before it is sent: the server need not come back after the last one.
                self._statistics.sent += length_of(part)
                yield part


def _first_byte(request: Request, stream: BlobStream) -> int:
    if request.method != "GET":
        return stream.size  # nothing but the size is asked for
    try:
        ranges = parse_range(request.header(b"range"), stream.size)
    except RangeNotSatisfiableError:
        return stream.size
    return ranges[0].start if ranges else 0
