"""A content as one ordered stream, by one connection or, where that one is slow, by several.

A large blob is asked for in segments, so that the way may be changed between them and not a byte is fetched
twice. The first segment tells whether the upstream has ranges and how fast one connection is. A fast one
(a near registry) stays alone: more would only cost processor time. A slow one (far away, or throttled for
each connection) gets companions, each with a small segment, read ahead within a bounded window, as long as
they bring more than it brought alone (``companions``).
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from p2p.errors import (
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
)
from p2p.origin.companions import Companions
from p2p.origin.exact import Exact, Opened, open_span
from p2p.origin.ranges import Span
from p2p.origin.redirects import origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from p2p.origin.session import Ask, Session

MIB = 1 << 20
_LEAST_WAIT = 0.05
"""Seconds of waiting below which the end of a segment says nothing of the rate."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes in bytes, rates in bytes a second, times in seconds.

    ``streams`` × ``segment`` is the most that one body holds in memory.
    """

    streams: int = 4
    first: int = 16 * MIB
    """The first segment: what is no larger takes exactly one GET."""
    parallel_from: int = 64 * MIB
    """Smaller contents never get more than one connection at a time."""
    segment: int = 4 * MIB
    """Of each of several connections."""
    largest: int = 256 * MIB
    """Segments of a single connection grow fourfold up to this."""
    slow: float = 50e6
    """A connection below this rate gets companions."""
    patience: float = 0.5
    """How long a connection is waited for before its rate is judged within a segment; 0: companions come at
    once, and stay."""


class ParallelBodies:
    """How many bodies of one upstream may have several connections at once: their memory adds up."""

    def __init__(self, most: int = 2) -> None:
        self._free = most

    def take(self) -> bool:
        """Take one of the places if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self._free += 1


class _Segment:
    """A span fetched by a task of its own into a queue."""

    def __init__(self, span: Span) -> None:
        self.span = span
        # Unbounded in items, bounded in bytes by the segment's size.
        self._send, self._receive = trio.open_memory_channel[bytes](math.inf)
        self._error: OriginError | None = None
        self._rest = memoryview(b"")

    async def fetch(self, body: Body) -> None:
        """Fill the queue; an error is kept for the reader."""
        with self._send:
            try:
                opened = await body.continue_at(self.span)
                try:
                    while part := await opened.body.receive():
                        self._send.send_nowait(part)
                        body.arrived(len(part))
                finally:
                    await opened.body.aclose()
            except OriginError as error:
                self._error = error

    async def receive(self) -> bytes:
        """Give the next bytes, b"" at the end."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            return b""

    async def receive_into(self, view: memoryview) -> int:
        """Fill ``view`` with what is there, 0 at the end."""
        if not self._rest:
            self._rest = memoryview(await self.receive())
        taken = min(len(self._rest), len(view))
        view[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken

    async def aclose(self) -> None:
        """Forget what was not read."""
        self._receive.close()


class Body:
    """Bytes ``[offset, stop)`` of a content of ``size`` bytes; an `OriginBody`. One reader at a time."""

    def __init__(
        self, session: Session, ask: Ask, opened: Opened, span: Span, tuning: Tuning, places: ParallelBodies
    ) -> None:
        self.size = opened.size
        self.offset = span.start
        self.media_type = opened.media_type
        self.connections = 1
        """The most connections that were used at once, for statistics."""
        self._session = session
        self._ask = ask
        self._url = opened.url
        self._stop = opened.size if span.stop is None else min(span.stop, opened.size)
        self._tuning = tuning
        self._places = places
        self._nursery: trio.Nursery | None = None
        self._current: Exact | _Segment | None = opened.body
        self._next = opened.stop
        """Where the next segment begins."""
        self._grown = tuning.first
        self._ahead: deque[_Segment] = deque()
        self._parallel = False
        self._companions = Companions(tuning.streams, tuning.patience)
        self._resting = False
        """Companions were of no use: none are tried within this segment."""
        self._may = opened.ranged and tuning.streams > 1 and self._stop - span.start > tuning.parallel_from
        self._waited = 0.0
        self._received = 0

    @property
    def whole(self) -> bool:
        """Whether the first answer has everything."""
        return self._next >= self._stop

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Give the next bytes, as they came from the network."""
        began = trio.current_time()
        while self._current is not None:
            part = await self._current.receive()
            if part:
                self._came(len(part), began)
                return part
            await self._current.aclose()
            self._current = None
            await self._advance()
        raise StopAsyncIteration

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the body reaches; gives how many bytes."""
        taken = 0
        while taken < len(view) and self._current is not None:
            began = trio.current_time()
            count = await self._current.receive_into(view[taken:])
            taken += count
            if not count:
                await self._current.aclose()
                self._current = None
                await self._advance()
            else:
                self._came(count, began)
        return taken

    def arrived(self, count: int) -> None:
        """Count bytes that the network brought on any connection while there are several."""
        if self._companions.arrived(count, trio.current_time()):
            self._read_ahead()

    def _came(self, count: int, began: float) -> None:
        """The reader got bytes that it had waited for since ``began``."""
        if self._parallel:
            if not isinstance(self._current, _Segment):  # whose bytes were counted as they came
                self.arrived(count)
        elif self._may and not self._resting:
            self._judge(count, trio.current_time() - began)

    def _judge(self, count: int, waited: float) -> None:
        """Count only the time that the network let us wait: a slow reader is no slow upstream."""
        self._received += count
        self._waited += waited
        if self._waited >= self._tuning.patience:
            if self._received < self._tuning.slow * self._waited:
                self._go_parallel()
            self._waited = 0.0
            self._received = 0

    def _go_parallel(self) -> None:
        if self._next < self._stop and self._places.take():
            self._parallel = True
            self._companions.begin(
                self._received / self._waited if self._waited else 0.0, trio.current_time()
            )
            self._read_ahead()

    def _read_ahead(self) -> None:
        """Keep as many segments under way or waiting to be read as are worth it, the current one counted."""
        assert self._nursery is not None
        while self._next < self._stop and len(self._ahead) + 1 < self._companions.connections:
            stop = min(self._next + self._tuning.segment, self._stop)
            segment = _Segment(Span(self._next, stop))
            self._next = stop
            self._ahead.append(segment)
            self._nursery.start_soon(segment.fetch, self)
        self.connections = max(self.connections, len(self._ahead) + 1)

    async def _advance(self) -> None:
        measured = self._waited >= _LEAST_WAIT
        if (
            self._may
            and not self._parallel
            and not self._resting
            and measured
            and self._received < self._tuning.slow * self._waited
        ):
            self._go_parallel()
        self._resting = False
        if self._parallel and self._companions.connections == 1 and not self._ahead:
            self._parallel = False
            self._resting = True
            self._waited, self._received = 0.0, 0
            self._places.give_back()
        if self._parallel:
            if self._ahead:
                self._current = self._ahead.popleft()
                self._read_ahead()
        elif self._next < self._stop:
            self._grown = min(self._grown * 4, self._tuning.largest)
            stop = min(self._next + self._grown, self._stop) if self._may else self._stop
            opened = await self.continue_at(Span(self._next, stop))
            self._current, self._next = opened.body, stop

    async def continue_at(self, span: Span) -> Opened:
        """Open a further segment where the first one came from, or, if that has ended, from the beginning."""
        if origin_of(self._url) != origin_of(self._session.settings.url):
            try:
                return await self._open(replace(self._ask, at=self._url), span)
            except (OriginDeniedError, OriginNotFoundError, OriginStatusError):
                pass  # a signed URL lives for minutes only: be redirected anew
        return await self._open(self._ask, span)

    async def _open(self, ask: Ask, span: Span) -> Opened:
        opened = await open_span(self._session, ask, span)
        if not opened.ranged or opened.size != self.size:
            await opened.body.aclose()
            raise OriginProtocolError(
                self._session.name, f"{ask} gave ranges of {self.size} bytes first, and then something else"
            )
        return opened

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Hold what the segments need; closes everything at the end."""
        failure: Exception | None = None
        try:
            if self.whole:
                yield
                return
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    yield
                except Exception as error:  # raised again below, outside of the nursery's group
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            if self._parallel:
                self._places.give_back()
            if self._current is not None:
                await self._current.aclose()
            for segment in self._ahead:
                await segment.aclose()
        if failure is not None:
            raise failure


@asynccontextmanager
async def open_body(
    session: Session, ask: Ask, span: Span, tuning: Tuning, places: ParallelBodies, *, limit: int = 0
) -> AsyncGenerator[Body]:
    """Open a span of a content. ``limit`` as in `open_span`: contents of that size at most (manifests)."""
    large = span.stop is None or span.stop - span.start > tuning.parallel_from
    probing = large and tuning.streams > 1 and not limit
    asked = Span(span.start, span.start + tuning.first) if probing else span
    opened = await open_span(session, ask, asked, rangeless=span, limit=limit)
    body = Body(session, ask, opened, span, tuning, places)
    async with body.running():
        yield body
