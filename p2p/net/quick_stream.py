"""A stream over a plain socket, for many small messages: one system call each, and no pass of the scheduler.

trio's ``SocketStream`` tries to receive before it waits, which fails nearly always where messages are small
and rare, and goes through its scheduler after each send.
"""

from __future__ import annotations

import socket

import trio

RECEIVE_BYTES = 64 * 1024


class QuickStream(trio.abc.Stream):
    """Owns ``sock``, which it makes non-blocking. One task may receive while another one sends."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        while True:
            self._check()
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(max_bytes or RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; waits only where the socket is full."""
        rest = memoryview(data)
        while rest:
            self._check()
            try:
                rest = rest[self._sock.send(rest, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes something."""
        self._check()
        await trio.lowlevel.wait_writable(self._sock)

    async def aclose(self) -> None:
        """Close; does nothing the second time."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._sock.fileno() < 0:
            raise trio.ClosedResourceError("this stream is closed")
