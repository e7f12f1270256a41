"""A connection over any stream (TLS, memory): no ``sendfile``, small pieces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from p2p.net.transport import RECEIVE_BYTES, Transport, too_short, unreadable

if TYPE_CHECKING:
    from p2p.net.message import FileSpan

PIECE_BYTES = 64 * 1024
"""Through TLS never more than this at once: a larger write costs five times the time per byte."""


class StreamTransport(Transport):
    """One client's connection over a ``trio.abc.Stream``, which it owns."""

    def __init__(self, stream: trio.abc.Stream, *, peer: str, timeout: float, rate: int) -> None:
        super().__init__(peer=peer, timeout=timeout, rate=rate)
        self._stream = stream

    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.gone() from error

    async def send(self, data: bytes, *, more: bool = False) -> None:
        """Send all of it; ``more`` makes no difference here."""
        del more
        view = memoryview(data)
        for start in range(0, len(data), PIECE_BYTES):
            await self._send_piece(view[start : start + PIECE_BYTES])

    async def send_file(self, span: FileSpan) -> None:
        """Send a part of a file; raises BrokenBodyError if the file is shorter."""
        offset, stop = span.offset, span.offset + span.length
        while offset < stop:
            # At most 64 KiB, mostly cached: a thread hop would cost more than the read.
            try:
                data = os.pread(span.fd, min(PIECE_BYTES, stop - offset), offset)
            except OSError as error:
                raise unreadable(span, error) from error
            if not data:
                raise too_short(span)
            await self._send_piece(memoryview(data))
            offset += len(data)

    def stream(self) -> trio.abc.Stream:
        """Give the stream away; the caller owns it from here."""
        return self._stream

    async def send_eof(self) -> None:
        """Say that no more will be sent, where the stream can (TLS can't)."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise self.gone() from error

    async def close(self) -> None:
        """Close, without waiting; does nothing the second time."""
        await trio.aclose_forcefully(self._stream)

    async def _send_piece(self, piece: memoryview) -> None:
        # A piece that is cancelled midway leaves the stream unusable, so each gets the time that the
        # slowest client we bear may need for it.
        patience = self._timeout + (len(piece) / self._rate if self._rate else 0.0)
        try:
            with trio.fail_after(patience):
                await self._stream.send_all(piece)
        except trio.TooSlowError as error:
            raise self.slow() from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.gone() from error
