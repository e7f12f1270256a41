"""The sockets under httpcore: every connection goes to an address that was vetted, and to no other.

A name is resolved once, its addresses are judged, and the connection is made to one of those; so a name
that answers differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import httpcore
import trio

from p2p.errors import OriginProtocolError
from p2p.net.receive import fill
from p2p.origin.addresses import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from httpcore._backends.base import SOCKET_OPTION

    from p2p.origin.addresses import Address, AddressPolicy

READ_BYTES: Final = 1024 * 1024
"""Bytes of one read at most; httpcore asks for 64 KiB, which costs twice the processor time for each byte."""
HEAD_BYTES: Final = 64 * 1024
TLS_BYTES: Final = 256 * 1024
STAGGER: Final = 0.25
"""Seconds before the next address is tried beside one that does not answer (RFC 8305 §5)."""
_MAX_ADDRESSES: Final = 8


class VettedBackend(httpcore.AsyncNetworkBackend):
    """Connects for one upstream. Raises OriginProtocolError where the policy forbids every address."""

    def __init__(self, name: str, policy: AddressPolicy) -> None:
        self._name = name
        self._policy = policy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, vet, connect; errors are httpcore's ConnectError and ConnectTimeout."""
        del local_address, socket_options  # we set none
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                addresses = self._vet(host, await _resolve(host, port))
                return VettedStream(await _connect_first(addresses, port))
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout(f"no connection within {timeout} s") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's interface)
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no upstream is a Unix socket."""
        del path, timeout, socket_options
        raise httpcore.UnsupportedProtocol("an upstream is never a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)

    def _vet(self, host: str, addresses: Sequence[Address]) -> list[Address]:
        allowed = [address for address in addresses if self._policy.allows(host, address)]
        if not allowed:
            shown = ", ".join(map(str, addresses))
            named = "" if literal(host) else f" of {host}"
            raise OriginProtocolError(
                self._name,
                f"leads to the address {shown}{named}, where an upstream must not lead",
                f"If this is meant, set upstreams.{self._name}.private_addresses = true"
                " (link-local and multicast addresses are refused even then)",
            )
        return allowed[:_MAX_ADDRESSES]


class VettedStream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants it, that can also be aborted: then the next read fails at once."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._aborted = False
        self._heading = False
        """A request was written: what is read next is the answer's head, and is given alone."""
        self._seen = b""
        self._behind = b""
        """What came with the head, and belongs behind it."""
        self._exact = False

    def abort(self) -> None:
        """Make every further read fail without waiting, and the connection unfit for reuse."""
        self._aborted = True

    @property
    def at_body(self) -> bool:
        """Whether exactly one head was read since the last request, so that the body comes next."""
        return self._exact

    async def fill(self, view: memoryview, patience: float) -> int:
        """Read body bytes into ``view`` until it is full or the stream ends, past httpcore; see ``at_body``.

        Raises httpcore's ReadTimeout and ReadError.
        """
        taken = min(len(self._behind), len(view))
        view[:taken] = self._behind[:taken]
        self._behind = self._behind[taken:]
        if self._aborted:
            raise httpcore.ReadError("the rest is not wanted")
        try:
            if isinstance(self._stream, trio.SocketStream):
                return taken + await fill(self._stream.socket, view[taken:], patience=patience)
            while taken < len(view):
                with trio.fail_after(patience):
                    part = await self._stream.receive_some(min(len(view) - taken, TLS_BYTES))
                if not part:
                    break
                view[taken : taken + len(part)] = part
                taken += len(part)
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout(f"no byte within {patience} s") from error
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError("connection lost") from error
        return taken

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpcore's)
        """Read what there is, at least ``max_bytes`` fitting; b"" at the end."""
        if self._aborted:
            raise httpcore.ReadError("the rest is not wanted")
        self._exact = False
        if self._behind:
            part, self._behind = self._behind, b""
            return part
        size = HEAD_BYTES if self._heading else max(max_bytes, READ_BYTES)
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                part = bytes(await self._stream.receive_some(size))
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout(f"no byte within {timeout} s") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError("connection lost") from error
        return self._head_of(part) if self._heading else part

    def _head_of(self, part: bytes) -> bytes:
        """Cut what was read behind the head's end, where that is in it."""
        seen = self._seen + part
        end = seen.find(b"\r\n\r\n")
        if end < 0:
            self._seen = seen[-3:]
            return part
        self._heading = False
        cut = end + 4 - len(self._seen)
        self._behind = part[cut:]
        self._exact = True
        return part[:cut]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (httpcore's)
        """Write all of it."""
        if not buffer:
            return
        self._heading, self._seen, self._exact = True, b"", False
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await self._stream.send_all(buffer)
        except trio.TooSlowError as error:
            raise httpcore.WriteTimeout(f"nothing taken within {timeout} s") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError("connection lost") from error

    async def aclose(self) -> None:
        """Close."""
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's interface)
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands; a failure closes the connection."""
        assert isinstance(self._stream, trio.SocketStream)
        secure = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await secure.do_handshake()
        except trio.TooSlowError as error:
            await self.aclose()
            raise httpcore.ConnectTimeout(f"no TLS handshake within {timeout} s") from error
        except (trio.BrokenResourceError, ssl.CertificateError) as error:
            await self.aclose()
            raise httpcore.ConnectError("TLS handshake failed") from error
        return VettedStream(secure)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks: ``ssl_object``, ``socket``, ``is_readable``."""
        stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        match info:
            case "ssl_object":
                # Its pool reads the protocol that ALPN chose; we offer none, so it is HTTP/1.1.
                return None
            case "socket":
                return stream.socket
            case "is_readable":
                return self._aborted or stream.socket.fileno() < 0 or stream.socket.is_readable()
            case _:
                return None


async def _resolve(host: str, port: int) -> list[Address]:
    spelled = literal(host)
    if spelled is not None:
        return [spelled]
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[Address] = []
    for family, _, _, _, sockaddr in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
            if address not in addresses:
                addresses.append(address)
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    # The other family second, so that a family without a route costs one stagger and no more.
    for index, address in enumerate(addresses[1:], 1):
        if address.version != addresses[0].version:
            addresses.insert(1, addresses.pop(index))
            break
    return addresses


async def _connect_first(addresses: Sequence[Address], port: int) -> trio.SocketStream:
    """Try addresses one after another, each a stagger (or a failure) after the one before; the first wins."""
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    winners: list[trio.SocketStream] = []
    failures: list[OSError] = []

    async def attempt(address: Address, failed: trio.Event, cancel: trio.CancelScope) -> None:
        try:
            stream = await _connect(address, port)
        except OSError as error:
            failures.append(error)
            failed.set()
        else:
            winners.append(stream)
            cancel.cancel()

    async with trio.open_nursery() as nursery:
        for address in addresses:
            failed = trio.Event()
            nursery.start_soon(attempt, address, failed, nursery.cancel_scope)
            with trio.move_on_after(STAGGER):
                await failed.wait()
    if not winners:
        raise failures[0]
    for late in winners[1:]:
        late.socket.close()
    return winners[0]


async def _connect(address: Address, port: int) -> trio.SocketStream:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
