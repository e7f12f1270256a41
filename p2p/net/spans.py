"""Sending a body of parts, while watching for the client to leave."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

import trio

from p2p.net.errors import BrokenBodyError, ClientGoneError
from p2p.net.message import FileSpan, Spans

if TYPE_CHECKING:
    from p2p.net.wire import Wire

PIPELINE_BYTES = 64 * 1024
"""Bytes of further requests that are taken in while a body is sent; more wait in the kernel."""

HANG_UP_SECONDS = 1.0
"""How often a client is polled whose further requests we no longer take in."""


async def send_spans(wire: Wire, spans: Spans, head: bytes) -> None:
    """Send ``head`` and exactly ``spans.length`` bytes of parts; closes their iterator in every case.

    Raises ClientGoneError when the client leaves: at once while a part is waited for, so that a reader
    of a shared download lets go of it. Raises BrokenBodyError for parts that do not add up, and what the
    parts raise; the connection must be cut then. ``spans.close`` is the caller's.
    """
    sender = _Sender(wire, spans)
    failure: Exception | None = None
    await wire.transport.send(head, more=spans.length > 0)
    if spans.length == 0:
        return
    async with trio.open_nursery() as nursery:
        sender.scope = nursery.cancel_scope
        nursery.start_soon(sender.watch)
        # Nothing but Cancelled leaves the nursery's body: a group would hide what it is.
        try:
            await sender.send_parts()
        except Exception as error:  # raised again below, outside of the nursery's group
            failure = error
        nursery.cancel_scope.cancel()
    if sender.gone and sender.sent < spans.length:
        raise wire.transport.gone() from failure
    if failure is not None:
        raise failure


async def aclose(parts: AsyncIterator[FileSpan | bytes]) -> None:
    """Close an iterator of parts, where it is a generator; others have nothing to close."""
    if isinstance(parts, AsyncGenerator):
        await parts.aclose()


class _Sender:
    def __init__(self, wire: Wire, spans: Spans) -> None:
        self.gone = False
        self.scope: trio.CancelScope | None = None
        self._wire = wire
        self._spans = spans
        self._waiting = False
        self.sent = 0

    async def send_parts(self) -> None:
        parts = self._spans.parts()
        try:
            while (part := await self._next(parts)) is not None:
                await self._send(part)
        finally:
            await aclose(parts)
        if self.sent < self._spans.length:
            raise self._broken(f"ended after {self.sent} of {self._spans.length} bytes")

    async def _next(self, parts: AsyncIterator[FileSpan | bytes]) -> FileSpan | bytes | None:
        if self.gone and self.sent < self._spans.length:
            raise self._wire.transport.gone()
        self._waiting = True
        try:
            return await anext(parts)
        except StopAsyncIteration:
            return None
        finally:
            self._waiting = False

    async def _send(self, part: FileSpan | bytes) -> None:
        length = part.length if isinstance(part, FileSpan) else len(part)
        if length > self._spans.length - self.sent:
            raise self._broken(f"ran over its {self._spans.length} bytes")
        if isinstance(part, FileSpan):
            await self._wire.transport.send_file(part)
        else:
            await self._wire.transport.send(part)
        self.sent += length

    async def watch(self) -> None:
        """Notice that the client leaves; take in requests that it pipelines meanwhile.

        Runs as soon as the first part is not there at once: the head, held back to share the first
        part's packet, is let go then.
        """
        if not self.sent:
            self._wire.transport.flush()
        with contextlib.suppress(ClientGoneError):  # that is what we wait for
            await self._until_gone()
        self.gone = True
        if self._waiting and self.sent < self._spans.length and self.scope is not None:
            self.scope.cancel()

    async def _until_gone(self) -> None:
        taken = 0
        while taken < PIPELINE_BYTES:
            data = await self._wire.receive()
            if not data:
                return
            taken += len(data)
        while True:
            if self._wire.transport.hung_up():
                return
            await trio.sleep(HANG_UP_SECONDS)

    def _broken(self, cause: str) -> BrokenBodyError:
        return BrokenBodyError("response body", cause)
