from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.errors import LocalError
from p2p.net.errors import BrokenBodyError, ClientGoneError, SlowClientError
from p2p.net.message import FileSpan
from p2p.net.socket_transport import SocketTransport

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[SocketTransport, trio.SocketStream]


def connect(timeout: float) -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    transport = SocketTransport(ours, peer="x", timeout=timeout, rate=0, disk=trio.CapacityLimiter(1))
    theirs.setblocking(False)
    return transport, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    transport, stream = connect(10)
    yield transport, stream
    await transport.close()
    await stream.aclose()


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = await stream.receive_some()
        assert more
        data += more
    return bytes(data)


async def test_bytes_both_ways(pair: Pair) -> None:
    transport, client = pair
    await transport.send(b"head ", more=True)
    await transport.send(b"body")
    assert await receive(client, 9) == b"head body"
    await client.send_all(b"back")
    assert await transport.receive() == b"back"
    await client.send_eof()
    assert await transport.receive() == b""
    assert transport.hung_up()


async def test_what_is_held_back_can_be_let_go(pair: Pair) -> None:
    transport, client = pair
    await transport.send(b"head", more=True)
    transport.flush()
    assert not_sent(transport) == 0  # the kernel alone would let go after 0.2 s
    assert await receive(client, 4) == b"head"


def not_sent(transport: SocketTransport) -> int:
    """Bytes that the kernel has not put into a packet yet (tcp(7), SIOCOUTQNSD)."""
    return int.from_bytes(fcntl.ioctl(transport._sock.fileno(), 0x894B, bytes(4)), sys.byteorder)


@pytest.mark.slow
@pytest.mark.parametrize("cold", [False, True])
async def test_a_large_file(pair: Pair, tmp_path: Path, cold: bool) -> None:
    transport, client = pair
    data = os.urandom(30_000_000)
    path = tmp_path / "data"
    path.write_bytes(data)
    with path.open("rb") as file:
        if cold:  # where the filesystem has a cache to drop from
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send_file, FileSpan(file.fileno(), 7, len(data) - 7))
            received = await receive(client, len(data) - 7)
    assert received == data[7:]


async def test_bad_files(pair: Pair, tmp_path: Path) -> None:
    transport, _ = pair
    path = tmp_path / "data"
    path.write_bytes(b"123")
    with path.open("rb") as file, pytest.raises(BrokenBodyError):
        await transport.send_file(FileSpan(file.fileno(), 0, 4))
    with path.open("wb") as file, pytest.raises(LocalError, match="can't be read"):
        await transport.send_file(FileSpan(file.fileno(), 0, 4))


async def test_a_client_that_does_not_take() -> None:
    transport, client = connect(0.1)
    with pytest.raises(SlowClientError):
        await transport.send(bytes(20_000_000))
    await transport.abort()
    await client.aclose()


async def test_a_client_that_is_gone(pair: Pair) -> None:
    transport, client = pair
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await client.aclose()
    with pytest.raises(ClientGoneError):
        await transport.receive()
    with pytest.raises(ClientGoneError):
        await transport.send(b"x")
    with pytest.raises(ClientGoneError):
        await transport.send_eof()
    assert transport.hung_up()
    transport.flush()


async def test_aborting_resets(pair: Pair) -> None:
    transport, client = pair
    await transport.abort()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await transport.abort()
    await transport.close()


async def test_closing_wakes_who_reads(pair: Pair) -> None:
    transport, _ = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive()

        await trio.testing.wait_all_tasks_blocked()
        await transport.close()


async def test_given_away(pair: Pair) -> None:
    transport, client = pair
    stream = transport.stream()
    await transport.close()
    await stream.send_all(b"still here")
    assert await receive(client, 10) == b"still here"
    await stream.aclose()
