"""The server: accepts, bounds, serves, and stops in good order."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.config import ServerLimits
from p2p.net.connection import Connection, Service
from p2p.net.listeners import Listener, format_address
from p2p.net.roster import Roster, ServerStatistics
from p2p.net.socket_transport import SocketTransport
from p2p.net.tls import TlsTransport

if TYPE_CHECKING:
    import socket

    from p2p.net.message import Handler
    from p2p.net.tls import ContextSource
    from p2p.net.transport import Transport

DISK_THREADS = 8
"""Worker threads that wait for files outside the page cache."""

ACCEPT_PAUSE = 0.1
"""Seconds to wait when the process or the system has no descriptor or memory for one more connection."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_logger = structlog.get_logger(__name__)


class Server:
    """A running server, as its owner sees it: what ``serve`` hands to ``nursery.start``."""

    def __init__(self, addresses: tuple[str, ...], roster: Roster) -> None:
        self.addresses = addresses
        self._roster = roster
        self._stopping = trio.Event()

    def stop(self) -> None:
        """Begin a graceful stop; ``serve`` returns when it is over. May be called again."""
        self._stopping.set()

    async def wait_stopping(self) -> None:
        """Wait until ``stop`` is called."""
        await self._stopping.wait()

    def statistics(self) -> ServerStatistics:
        """Count connections and requests."""
        return self._roster.statistics()


async def serve(
    handler: Handler,
    listeners: Sequence[Listener],
    limits: ServerLimits | None = None,
    *,
    most: int | None = None,
    tls: ssl.SSLContext | ContextSource | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 on ``listeners``, which it closes at its end; starts with a ``Server``.

    A stop accepts no more, closes at once the connections that have no request under way and those
    that were given away, lets responses finish for ``limits.drain_timeout`` seconds, and cuts the rest.
    Cancelling cuts everything at once. ``most`` connections, in place of ``limits.connections``. ``tls`` is
    a context, or what gives one for each handshake (``TlsFiles``).
    """
    limits = limits or ServerLimits()
    roster = Roster(most or limits.connections)
    service = Service(handler, limits, roster, scheme="https" if tls else "http")
    acceptor = _Acceptor(service, tls)
    server = Server(tuple(listener.address for listener in listeners), roster)
    try:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(acceptor.accept, listener, connections)
                task_status.started(server)
                await server.wait_stopping()
                accepting.cancel_scope.cancel()
            _close(listeners)
            roster.stop()
            connections.cancel_scope.deadline = trio.current_time() + limits.drain_timeout
        if connections.cancel_scope.cancelled_caught:
            _logger.warning("responses cut: they outlasted the drain", seconds=limits.drain_timeout)
    finally:
        _close(listeners)


class _Acceptor:
    """Turns what a listener accepts into connections."""

    def __init__(self, service: Service, tls: ssl.SSLContext | ContextSource | None) -> None:
        self._service = service
        self._tls = tls
        self._disk = trio.CapacityLimiter(DISK_THREADS)

    async def accept(self, listener: Listener, connections: trio.Nursery) -> None:
        """Accept until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(listener.socket)
            await self._service.roster.room()
            try:
                sock, address = listener.socket.accept()
            except (BlockingIOError, ConnectionError):
                continue  # the client is gone already
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _logger.warning("can't accept a connection", address=listener.address, error=str(error))
                await trio.sleep(ACCEPT_PAUSE)  # descriptors are short: until some are free again
                continue
            peer = "unix" if listener.path is not None else format_address(*address[:2])
            connection = Connection(self._transport(sock, peer), self._service)
            self._service.roster.enter(connection)
            # A task runs up to its first checkpoint even when cancelled, so the socket always has an owner.
            connections.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._service.roster.leave(connection)

    def _transport(self, sock: socket.socket, peer: str) -> Transport:
        timeout, rate = self._service.limits.body_timeout, self._service.limits.minimum_rate
        if self._tls is None:
            return SocketTransport(sock, peer=peer, timeout=timeout, rate=rate, disk=self._disk)
        sock.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))  # sets TCP_NODELAY
        # The first read shakes hands, within ``header_timeout``. https_compatible: every response has its
        # length, so a client that closes without saying goodbye loses nothing.
        context = self._tls if isinstance(self._tls, ssl.SSLContext) else self._tls()
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        return TlsTransport(secure, peer=peer, timeout=timeout, rate=rate)


def _close(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.close()
