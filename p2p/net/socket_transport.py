"""A connection over a plain socket: direct system calls, and ``sendfile`` for files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import termios
from typing import TYPE_CHECKING

import trio

from p2p.net.pace import Pace
from p2p.net.page_cache import send_cold, warm_bytes
from p2p.net.transport import RECEIVE_BYTES, Transport, too_short, unreadable

if TYPE_CHECKING:
    from p2p.net.message import FileSpan

WINDOW = 4 * 1024 * 1024
"""Most bytes that one ``sendfile`` is asked for, and one probe of the page cache looks at."""

_GONE = frozenset(
    {
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
    }
)
_HANG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SocketTransport(Transport):
    """One client's connection over a non-blocking stream socket, which it owns.

    trio's ``SocketStream`` takes a lock, a checkpoint and a conflict check for each call; here a small
    answer is one system call. ``disk`` limits the threads that wait for cold files.
    """

    def __init__(
        self, sock: socket.socket, *, peer: str, timeout: float, rate: int, disk: trio.CapacityLimiter
    ) -> None:
        sock.setblocking(False)
        self._tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        if self._tcp:
            # A client that is gone already makes this fail on some systems; reading will tell.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(peer=peer, timeout=timeout, rate=rate)
        self._sock = sock
        self._disk = disk
        self._pace = Pace(timeout, rate)
        self._sent = 0

    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.gone() from error

    async def send(self, data: bytes, *, more: bool = False) -> None:
        """Send all of it, with one system call and no checkpoint where the socket takes it."""
        flags = socket.MSG_NOSIGNAL | (socket.MSG_MORE if more else 0)
        rest = memoryview(data)
        while rest:
            try:
                sent = self._sock.send(rest, flags)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise self.gone() from error
            self._sent += sent
            rest = rest[sent:]
            if rest:
                await self._writable()

    async def send_file(self, span: FileSpan) -> None:
        """Send a part of a file; raises BrokenBodyError if the file is shorter."""
        offset, stop = span.offset, span.offset + span.length
        warm = offset
        while offset < stop:
            count = min(stop - offset, WINDOW)
            try:
                if offset >= warm:
                    warm = offset + warm_bytes(span.fd, offset, count)
                if offset < warm:
                    count = warm - offset
                    sent = os.sendfile(self._sock.fileno(), span.fd, offset, count)
                else:
                    await self._writable()
                    sent = await trio.to_thread.run_sync(
                        send_cold, self._sock.fileno(), span.fd, offset, count, limiter=self._disk
                    )
            except BlockingIOError:
                await self._writable()
                continue
            except OSError as error:
                if isinstance(error, ConnectionError) or error.errno in _GONE:
                    raise self.gone() from error
                raise unreadable(span, error) from error
            if sent == 0:
                raise too_short(span)
            self._sent += sent
            offset += sent
            if sent < count:  # the socket is full: asking again would only fail
                await self._writable()
            elif offset < stop:
                await trio.lowlevel.checkpoint()

    def flush(self) -> None:
        """Let go of bytes that a ``send`` with ``more`` held back (up to 200 ms otherwise)."""
        if self._tcp:
            # tcp(7): setting TCP_NODELAY forces an explicit flush of pending output.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hung_up(self) -> bool:
        """Whether the client has closed its side, without reading."""
        poll = select.poll()
        poll.register(self._sock, _HANG_UP)
        return any(events & _HANG_UP for _, events in poll.poll(0))

    def stream(self) -> trio.abc.Stream:
        """Give the connection away as a stream; the caller owns it from here, the transport is done."""
        taken = socket.socket(fileno=self._sock.detach())
        return trio.SocketStream(trio.socket.from_stdlib_socket(taken))

    async def close(self) -> None:
        """Close; does nothing the second time."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def abort(self) -> None:
        """Reset the connection: the kernel drops what the client has not taken yet."""
        if self._sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            await self.close()

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self.gone() from error

    async def _writable(self) -> None:
        """Wait until the client takes more, as long as its pace allows."""
        begin = trio.current_time()
        with trio.move_on_after(self._pace.allowance()):
            await trio.lowlevel.wait_writable(self._sock)
        if not self._pace.waited(trio.current_time() - begin, self._sent - self._queued()):
            raise self.slow()

    def _queued(self) -> int:
        """Bytes that the kernel holds for the client.

        It reports a full socket as writable only after a third of a buffer of megabytes is free: a
        client that takes little but enough must not be taken for one that takes nothing.
        """
        answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", answer)[0])
