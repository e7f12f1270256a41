"""UDP sockets: what comes is handed on from one reused buffer, what goes is sent at once or dropped."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from p2p.core.dht.contact import IPV4_BYTES, IPV6_BYTES
from p2p.core.dht.sealing import MAX_DATAGRAM
from p2p.discovery.dht.addresses import to_host
from p2p.errors import LocalError, PortInUseError
from p2p.net.listeners import format_address, split_address

if TYPE_CHECKING:
    from p2p.core.dht.contact import Endpoint

BATCH: Final = 64
"""Datagrams read in a row before other tasks have their turn."""
BUFFER: Final = MAX_DATAGRAM + 1
"""One byte more than a datagram may have: longer ones are known by it."""
KERNEL_BUFFER: Final = 1 << 20

Take = Callable[[memoryview, Any], None]
"""Gets a datagram, which is only valid during the call, and its sender's socket address."""


class UdpSockets:
    """The sockets of one node, one for each address that it listens on; ``port`` is the same for all."""

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self._sockets = tuple(sockets)
        self._by_length = {
            IPV4_BYTES if one.family == socket.AF_INET else IPV6_BYTES: one for one in self._sockets
        }
        self.unsent = 0
        """Datagrams that the system would not take."""

    @property
    def families(self) -> frozenset[int]:
        """The lengths of the addresses that can be sent to."""
        return frozenset(self._by_length)

    @property
    def address(self) -> str:
        """Where the first one is bound."""
        host, port = self._sockets[0].getsockname()[:2]
        return format_address(str(host), int(port))

    def close(self) -> None:
        """Close them all."""
        for one in self._sockets:
            if one.fileno() >= 0:
                trio.lowlevel.notify_closing(one)
                one.close()

    def send(self, endpoint: Endpoint, datagram: bytes) -> None:
        """Send, or drop: a full buffer and an unreachable network are what a lost datagram is."""
        one = self._by_length.get(len(endpoint.ip))
        try:
            if one is not None:
                one.sendto(datagram, (to_host(endpoint.ip), endpoint.port))
        except OSError:
            self.unsent += 1

    async def run(self, take: Take, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive on all sockets until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in self._sockets:
                nursery.start_soon(_receive, one, take)
            task_status.started()


async def _receive(one: socket.socket, take: Take) -> None:
    buffer = memoryview(bytearray(BUFFER))
    while True:
        await trio.lowlevel.wait_readable(one)
        for _ in range(BATCH):
            try:
                size, sender = one.recvfrom_into(buffer)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of something sent earlier
            take(buffer[:size], sender)


def open_sockets(addresses: Iterable[str]) -> UdpSockets:
    """Bind to numeric addresses; raises PortInUseError or LocalError.

    Port 0 takes a free one for the first address and the same for the others.
    """
    sockets: list[socket.socket] = []
    port = 0
    try:
        for address in addresses:
            host, wanted = split_address(address)
            sockets.append(_bind(host, wanted or port))
            port = port or int(sockets[0].getsockname()[1])
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return UdpSockets(sockets)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
    except OSError as error:
        one.close()
        name = f"address {format_address(host, port)} (UDP)"
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                name, "another process listens there", "Stop it, or set dht.listen to another port"
            ) from error
        raise LocalError(name, f"can't listen there: {error.strerror}", "Set dht.listen") from error
    return one
