"""A request's body as it comes from the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import h11
import trio

from p2p.net.answers import CONTINUE
from p2p.net.errors import BodyError, BodyLostError, BodyTooLargeError, ClientGoneError
from p2p.net.pace import Pace

if TYPE_CHECKING:
    from p2p.net.wire import Wire

OVERHEAD_BYTES = 16 * 1024
OVERHEAD_RATIO = 16
"""A chunked body's framing may be this, plus this many times its data: one-byte chunks are wasteful but
honest, kilobytes of chunk extensions around each byte are an attack (as CVE-2023-39326 in Go)."""


class IncomingBody:
    """The body of one request, read once (a ``message.RequestBody``).

    Reading it first sends ``100 Continue`` to a client that waits for it. ``length`` in bytes, None when
    chunked. ``done`` once its end was reached, ``failed`` once it can't be: the connection is then lost.
    """

    def __init__(self, wire: Wire, length: int | None, *, timeout: float, rate: int) -> None:
        self.length = length
        self.done = length == 0
        self.failed = False
        self._wire = wire
        self._pace = Pace(timeout, rate)
        self._fed = len(wire.left_over()) if length is None else 0
        self._given = 0
        self._continued = False

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told that it may send the body."""
        return self._wire.h11.they_are_waiting_for_100_continue and not self._continued

    @property
    def remaining(self) -> int | None:
        """Bytes that are still to come, None when unknown."""
        return None if self.length is None else self.length - self._given

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the body, from where the last iteration stopped."""
        return self

    async def __anext__(self) -> bytes:
        """Give the next bytes; raises BodyError for a broken body and BodyLostError for a lost one."""
        if self.done:
            raise StopAsyncIteration
        if self.failed:
            raise BodyLostError(self._subject(), "could not be read to its end before")
        try:
            return await self._next()
        except BodyError:
            self.failed = True
            raise
        except ClientGoneError as error:
            self.failed = True
            raise BodyLostError(self._subject(), error.cause) from error

    async def read(self, limit: int) -> bytes:
        """Read it whole; raises BodyTooLargeError as soon as it passes ``limit`` bytes."""
        if self.length is not None and self.length > limit:
            raise BodyTooLargeError(limit)
        whole = bytearray()
        async for data in self:
            whole += data
            if len(whole) > limit:
                raise BodyTooLargeError(limit)
        return bytes(whole)

    async def _next(self) -> bytes:
        wire = self._wire
        wire.stop_recording()
        while True:
            try:
                event = wire.h11.next_event()
            except h11.RemoteProtocolError as error:
                kind = BodyLostError if wire.eof else BodyError
                raise kind(self._subject(), str(error)) from error
            if isinstance(event, h11.Data):
                data = bytes(event.data)
                self._given += len(data)
                return data
            if isinstance(event, h11.EndOfMessage):
                self.done = True
                raise StopAsyncIteration
            self._check_overhead()
            if self.expects_continue:
                self._continued = True
                await wire.transport.send(CONTINUE)
            await self._receive()

    async def _receive(self) -> None:
        """Wait for bytes as long as the client's pace allows."""
        while True:
            begin = trio.current_time()
            data: bytes | None = None
            with trio.move_on_after(self._pace.allowance()):
                data = await self._wire.receive()
            self._fed += len(data or b"")
            if not self._pace.waited(trio.current_time() - begin, self._fed):
                raise self._wire.transport.slow()
            if data is not None:
                return

    def _check_overhead(self) -> None:
        if self.length is not None:
            return
        overhead = self._fed - len(self._wire.left_over()) - self._given
        if overhead > OVERHEAD_BYTES + OVERHEAD_RATIO * self._given:
            raise BodyError(self._subject(), "is mostly chunk framing")

    def _subject(self) -> str:
        return f"request body of client {self._wire.transport.peer}"
