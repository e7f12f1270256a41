"""The peer port: ranges of complete and growing blobs to other nodes, and the exchange's WebSocket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.swarm.chunks import Layout
from p2p.net.message import Content, FileSpan, Request, Response, Takeover
from p2p.net.ranged import ranged_response
from p2p.transfer.links import PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from p2p.store.api import Store
    from p2p.transfer.api import TransferStatistics
    from p2p.transfer.holdings import Holdings
    from p2p.transfer.limits import Limiter
    from p2p.transfer.links import Links

BLOBS = "/p2p/v1/blobs/"

SLOT_RATE = 256 * 1024
"""Bytes a second that an upload slot is worth under a limit. With half of it a peer takes us for stalled."""


class Seeder:
    """The handler of the peer port. At most ``uploads`` answers under way; beyond, 503.

    ``limit`` paces the bytes of all of them together; then there are no more slots than it can feed.
    """

    def __init__(
        self,
        store: Store,
        holdings: Holdings,
        links: Links,
        statistics: TransferStatistics,
        uploads: int,
        limit: Limiter | None = None,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._links = links
        self._statistics = statistics
        self._uploads = uploads if limit is None else min(uploads, max(1, limit.rate // SLOT_RATE))
        self._limit = limit
        self._under_way = 0

    async def handle(self, request: Request) -> Response:
        """Answer one request of a peer."""
        if request.method == "GET" and request.path == PATH:
            host = request.peer.rpartition(":")[0].strip("[]")
            return Response(101, body=Takeover(lambda stream: self._links.accept(stream, host)))
        if request.method != "GET" or not request.path.startswith(BLOBS):
            return _plain(404, "this is a peer port; the registry listens elsewhere")
        try:
            digest = Digest.parse(request.path[len(BLOBS) :])
        except RegistryError as error:
            return _plain(400, str(error))
        if self._holdings.withholds(digest):
            self._holdings.asked(digest)
            return _plain(404, f"{digest} is not here")
        if self._under_way >= self._uploads:
            return Response(503, ((b"retry-after", b"1"),), Content(b"all upload slots are taken"))
        partial = self._holdings.growing(digest)
        if partial is not None:
            return self._growing(request, digest)
        return self._complete(request, digest)

    def _complete(self, request: Request, digest: Digest) -> Response:
        stored = self._store.find(digest)
        if stored is None:
            return _plain(404, f"{digest} is not here")
        try:
            opened = self._store.open(digest)
            fd = opened.__enter__()
        except KeyError:
            return _plain(404, f"{digest} is not here")

        def done() -> None:
            opened.__exit__(None, None, None)

        return self._ranged(request, digest, fd, stored.size, done)

    def _growing(self, request: Request, digest: Digest) -> Response:
        """Give chunks of a partial blob, where every chunk of the range holds."""
        partial = self._holdings.growing(digest)
        assert partial is not None
        span = _single(request)
        layout = partial.layout
        if span is None or span[1] > layout.size:
            return _plain(416, "a growing blob is given by single ranges within it")
        if any(index not in partial.have for index in layout.covering(*span)):
            return _plain(404, "not every chunk of the range is here yet")
        # The file outlives a commit, and a discard unlinks it only: a duplicate descriptor stays good.
        fd = os.dup(partial.fd)

        def done() -> None:
            os.close(fd)

        return self._ranged(request, digest, fd, layout.size, done)

    def _ranged(
        self, request: Request, digest: Digest, fd: int, size: int, done: Callable[[], None]
    ) -> Response:
        self._under_way += 1
        layout = Layout(size)
        host = request.peer.rpartition(":")[0]
        self._holdings.serves(digest, host)
        began = trio.current_time()

        def close() -> None:
            self._under_way -= 1
            self._holdings.served(digest, host, trio.current_time() - began)
            done()

        async def parts(start: int, stop: int) -> AsyncIterator[FileSpan]:
            yield FileSpan(fd, start, stop - start)
            self._statistics.sent_peers += stop - start
            self._holdings.sent(digest, layout.covering(start, stop))

        async def paced(start: int, stop: int) -> AsyncIterator[FileSpan]:
            assert self._limit is not None
            host = request.peer.rpartition(":")[0]
            chunks = layout.covering(start, stop)
            while start < stop:
                size = min(self._limit.step, stop - start)
                await self._limit.take(host, size)
                yield FileSpan(fd, start, size)
                self._statistics.sent_peers += size
                start += size
            self._holdings.sent(digest, chunks)

        give = parts if self._limit is None else paced
        return ranged_response(request, size, (), give, close=close, content_type="application/octet-stream")


def _single(request: Request) -> tuple[int, int] | None:
    """Read ``Range: bytes=a-b`` as [a, b+1): the one form that our own client sends."""
    header = request.header(b"range") or ""
    unit, _, span = header.partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not first.isdecimal() or not last.isdecimal() or len(span) > 40:
        return None
    return (int(first), int(last) + 1) if int(first) <= int(last) else None


def _plain(status: int, text: str) -> Response:
    return Response(
        status, ((b"content-type", b"text/plain; charset=utf-8"),), Content(text.encode() + b"\n")
    )
