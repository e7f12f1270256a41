"""The peers' HTTP client: ranges of a blob straight into a buffer, over kept connections.

The head is read by h11; the body bypasses it and goes from the socket into the caller's memory.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import h11
import trio

from p2p.errors import PeerError
from p2p.net.receive import GLANCE, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from p2p.core.oci.digest import Digest

CONNECT_SECONDS = 2.0
STALL_SECONDS = 3.0
"""A peer that sends nothing for so long has stalled."""

SLOWEST = 128 * 1024
"""Bytes a second that a peer must send, besides: a dripping one would never count as stalled."""

KEPT = 4
"""Idle connections kept for one peer."""

KEPT_PEERS = 64
"""Peers that idle connections are kept for, the latest ones."""

Address = tuple[str, int]


class UnmetError(PeerError):
    """The peer does not have what it claimed (404 or 416)."""


class BusyError(PeerError):
    """All upload slots of the peer are taken (503)."""


class StalledError(PeerError):
    """The peer sent nothing for too long, or could not be reached in time."""


class PeerBody:
    """The body of one answer: exactly ``length`` bytes, to be read in order.

    ``flowing``, where one is set, is called with the bytes so far every ``GLANCE`` seconds while some come.
    """

    def __init__(self, name: str, sock: trio.socket.SocketType, start: bytes, length: int) -> None:
        self.remaining = length
        self.flowing: Callable[[int], None] | None = None
        self._told_at = trio.current_time()
        self._length = length
        self._name = name
        self._sock = sock
        self._start = memoryview(start)
        self._patience = STALL_SECONDS + length / SLOWEST
        """Seconds that reading may take, all together; the reader's own pauses don't count."""

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view``, and give its length; PeerError when the peer stops short or stalls or drips.

        The latter two are a StalledError.
        """
        if len(view) > self.remaining:
            raise PeerError(self._name, "sent a shorter answer than asked for")
        taken = min(len(self._start), len(view))
        if taken:
            view[:taken] = self._start[:taken]
            self._start = self._start[taken:]
        began = trio.current_time()
        latest = began + self._patience
        before = self._length - self.remaining + taken
        try:
            with _mapped(self._name):
                taken += await fill(
                    self._sock,
                    view[taken:],
                    patience=STALL_SECONDS,
                    latest=latest,
                    flowing=lambda count: self._flow(before + count),
                )
        except trio.TooSlowError as error:
            slow = f"less than {SLOWEST} bytes a second" if trio.current_time() >= latest else "nothing"
            raise StalledError(self._name, f"sent {slow} for {STALL_SECONDS:g} s and more") from error
        if taken < len(view):
            raise PeerError(self._name, "closed the connection in the middle of an answer")
        self._patience -= trio.current_time() - began
        self.remaining -= len(view)
        return len(view)

    def _flow(self, received: int) -> None:
        now = trio.current_time()
        if self.flowing is not None and now - self._told_at >= GLANCE:
            self._told_at = now
            self.flowing(received)


class PeerClient:
    """Connections to peers. One run's property; safe for concurrent use."""

    def __init__(self) -> None:
        self._idle: dict[Address, list[trio.socket.SocketType]] = {}

    @asynccontextmanager
    async def get(self, address: Address, digest: Digest, start: int, stop: int) -> AsyncIterator[PeerBody]:
        """Ask for bytes ``[start, stop)`` of a blob, ``stop > start``.

        Raises UnmetError, BusyError, StalledError or PeerError. A kept connection that turns out to be
        closed is replaced once. The connection is kept only when the body was read to its end.
        """
        name = f"peer {address[0]}:{address[1]}"
        kept = self._kept(address)
        sock = kept if kept is not None else await _connect(name, address)
        done = False
        try:
            try:
                body = await _ask(name, address, sock, digest, start, stop)
            except (UnmetError, StalledError, BusyError):
                raise
            except PeerError:
                if kept is None:
                    raise
                sock.close()
                sock = await _connect(name, address)
                body = await _ask(name, address, sock, digest, start, stop)
            yield body
            done = body.remaining == 0
        finally:
            if done:
                self._keep(address, sock)
            else:
                sock.close()

    def forget(self, address: Address) -> None:
        """Close the idle connections to a peer."""
        for sock in self._idle.pop(address, ()):
            sock.close()

    def close(self) -> None:
        """Close every idle connection."""
        for address in tuple(self._idle):
            self.forget(address)

    def _kept(self, address: Address) -> trio.socket.SocketType | None:
        pool = self._idle.get(address)
        if not pool:
            return None
        sock = pool.pop()
        if not pool:
            del self._idle[address]
        return sock

    def _keep(self, address: Address, sock: trio.socket.SocketType) -> None:
        pool = self._idle.pop(address, [])
        self._idle[address] = pool
        pool.append(sock)
        if len(pool) > KEPT:
            pool.pop(0).close()
        if len(self._idle) > KEPT_PEERS:
            self.forget(next(iter(self._idle)))


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PeerError(name, f"the connection failed: {error}") from error


async def _connect(name: str, address: Address) -> trio.socket.SocketType:
    with trio.move_on_after(CONNECT_SECONDS):
        try:
            stream = await trio.open_tcp_stream(*address)
        except OSError as error:
            raise StalledError(name, f"could not be reached: {error}") from error
        return stream.socket
    raise StalledError(name, f"could not be reached within {CONNECT_SECONDS:g} s")


async def _ask(
    name: str, address: Address, sock: trio.socket.SocketType, digest: Digest, start: int, stop: int
) -> PeerBody:
    request = (
        f"GET /p2p/v1/blobs/{digest} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
        f"Range: bytes={start}-{stop - 1}\r\n\r\n"
    )
    status, rest = 0, b""
    headers: dict[str, str] = {}
    with trio.move_on_after(STALL_SECONDS) as scope, _mapped(name):
        await _send_all(sock, request.encode())
        status, headers, rest = await _head(name, sock)
    if scope.cancelled_caught:
        raise StalledError(name, f"did not answer within {STALL_SECONDS:g} s")
    if status in (404, 416):
        raise UnmetError(name, f"does not have bytes {start}-{stop - 1} of {digest}")
    if status == 503:
        raise BusyError(name, "has no upload slot free now")
    if status != 206:
        raise PeerError(name, f"answered {status} to a range request")
    expected = f"bytes {start}-{stop - 1}/"
    if not headers.get("content-range", "").startswith(expected) or "content-encoding" in headers:
        raise PeerError(name, "answered with another range than asked for")
    if headers.get("content-length") != str(stop - start) or len(rest) > stop - start:
        raise PeerError(name, "answered with a length that does not fit the range")
    return PeerBody(name, sock, rest, stop - start)


async def _send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    sent = 0
    while sent < len(data):
        sent += await sock.send(data[sent:])


async def _head(name: str, sock: trio.socket.SocketType) -> tuple[int, dict[str, str], bytes]:
    """Read a response's head: status, headers, and what of the body came with it."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=16 * 1024)
    # h11 must have seen a request before it reads a response.
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "peer")]))
    parser.send(h11.EndOfMessage())
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            raise PeerError(name, f"sent no valid answer: {error}") from error
        if isinstance(event, h11.Response):
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in event.headers}
            return event.status_code, headers, parser.trailing_data[0]
        if isinstance(event, h11.ConnectionClosed):
            raise PeerError(name, "closed the connection before it answered")
        if event is h11.NEED_DATA:
            parser.receive_data(await sock.recv(16 * 1024))
        elif not isinstance(event, h11.InformationalResponse):
            raise PeerError(name, "sent no valid answer: it switched protocols")
