from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.errors import PeerError
from p2p.transfer.fetch import KEPT, KEPT_PEERS, BusyError, PeerClient, StalledError, UnmetError
from tests.support.cluster import open_files
from tests.support.http_rig import until
from tests.support.liar import Liar, range_head, send_range
from tests.support.store_rig import MIB, blob

if TYPE_CHECKING:
    from trio.testing import MockClock

CONTENT = blob(MIB)
DIGEST = CONTENT.digest


@pytest.fixture
async def client() -> AsyncIterator[PeerClient]:
    client = PeerClient()
    yield client
    client.close()


@pytest.fixture
def start(nursery: trio.Nursery) -> Callable[..., Any]:
    async def start(answer: Any = None) -> Liar:
        peer = Liar(CONTENT, answer=answer)
        await nursery.start(peer.run)
        return peer

    return start


def address(peer: Liar) -> tuple[str, int]:
    return peer.provider.host, peer.provider.port


async def take(client: PeerClient, peer: Liar, first: int = 0, stop: int = 1000) -> bytes:
    buffer = bytearray(stop - first)
    async with client.get(address(peer), DIGEST, first, stop) as body:
        assert body.remaining == stop - first
        await body.read_into(memoryview(buffer))
        assert body.remaining == 0
    return bytes(buffer)


async def test_ranges_come_over_one_kept_connection(client: PeerClient, start: Any) -> None:
    peer = await start()
    for first, stop in [(0, 1), (5, 1005), (0, CONTENT.size), (CONTENT.size - 1, CONTENT.size)]:
        assert await take(client, peer, first, stop) == CONTENT.data[first:stop]
    assert peer.asked[1] == (5, 1005)
    assert peer.connections == 1


async def test_a_body_may_be_read_in_parts(client: PeerClient, start: Any) -> None:
    peer = await start()
    async with client.get(address(peer), DIGEST, 10, 30) as body:
        data = bytearray(20)
        await body.read_into(memoryview(data)[:7])
        await body.read_into(memoryview(data)[7:])
        assert bytes(data) == CONTENT.data[10:30]
        with pytest.raises(PeerError, match="shorter"):
            await body.read_into(memoryview(bytearray(1)))


async def test_concurrent_requests_have_a_connection_each_and_few_are_kept(
    client: PeerClient, start: Any
) -> None:
    peer = await start()
    before = open_files()
    gate = trio.Event()

    async def hold() -> None:
        async with client.get(address(peer), DIGEST, 0, 5) as body:
            await body.read_into(memoryview(bytearray(5)))
            await gate.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(KEPT + 3):
            nursery.start_soon(hold)
        await until(lambda: peer.connections == KEPT + 3)
        gate.set()
    # Each kept one is a socket here and one there.
    await until(lambda: len(open_files() - before) == 2 * KEPT)
    client.forget(address(peer))
    await until(lambda: not open_files() - before)


async def test_a_kept_connection_that_was_closed_is_replaced(client: PeerClient, start: Any) -> None:
    async def once(stream: trio.SocketStream, first: int, stop: int) -> None:
        await send_range(stream, CONTENT.data, first, stop)
        await stream.aclose()

    peer = await start(once)
    for _ in range(3):
        assert await take(client, peer) == CONTENT.data[:1000]
    assert peer.connections == 3


async def test_a_peer_that_is_gone_is_told_as_stalled(client: PeerClient, start: Any) -> None:
    async with trio.open_nursery() as nursery:
        peer = Liar(CONTENT)
        await nursery.start(peer.run)
        await take(client, peer)
        nursery.cancel_scope.cancel()
    with pytest.raises(StalledError, match="could not be reached"):
        await take(client, peer)


async def test_a_body_that_was_not_read_to_its_end_ends_the_connection(
    client: PeerClient, start: Any
) -> None:
    peer = await start()
    async with client.get(address(peer), DIGEST, 0, CONTENT.size) as body:
        await body.read_into(memoryview(bytearray(5)))
    assert await take(client, peer) == CONTENT.data[:1000]
    assert peer.connections == 2


async def test_few_peers_are_kept_connections_for(client: PeerClient, nursery: trio.Nursery) -> None:
    peer = Liar(CONTENT)
    await nursery.start(peer.run)
    for last in range(1, KEPT_PEERS + 6):
        here = (f"127.0.0.{last}", peer.provider.port)
        if last > 1:
            listeners = await trio.open_tcp_listeners(peer.provider.port, host=here[0])
            nursery.start_soon(trio.serve_listeners, peer._serve, listeners)
        async with client.get(here, DIGEST, 0, 5) as body:
            await body.read_into(memoryview(bytearray(5)))
    assert len(client._idle) == KEPT_PEERS
    assert ("127.0.0.1", peer.provider.port) not in client._idle


def raw(data: bytes, *, close: bool = True) -> Any:
    async def answer(stream: trio.SocketStream, first: int, stop: int) -> None:
        await stream.send_all(data)
        if close:
            await stream.aclose()

    return answer


HEAD = range_head(0, 1000, CONTENT.size)
ANSWERS = {
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", UnmetError),
    "416": (b"HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n", UnmetError),
    "503": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", BusyError),
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000), PeerError),
    "no range": (b"HTTP/1.1 206 Partial\r\nContent-Length: 1000\r\n\r\n" + bytes(1000), PeerError),
    "another range": (range_head(1, 1001, CONTENT.size) + bytes(1000), PeerError),
    "another length": (range_head(0, 1000, CONTENT.size, length=999) + bytes(999), PeerError),
    "no length": (
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-999/1048576\r\n\r\n" + bytes(1000),
        PeerError,
    ),
    "chunked": (
        b"HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-999/1\r\n\r\n3e8\r\n",
        PeerError,
    ),
    "more than asked for": (HEAD + bytes(1001), PeerError),
    "less than asked for": (HEAD + bytes(999), PeerError),
    "encoded": (range_head(0, 1000, 1, more="Content-Encoding: gzip\r\n") + bytes(1000), PeerError),
    "nothing": (b"", PeerError),
    "garbage": (b"\x00\x01\x02\r\n\r\n", PeerError),
    "long head": (b"HTTP/1.1 206 P\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n", PeerError),
    "protocol switch": (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", PeerError),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_answers_that_are_wrong(name: str, kept: bool, client: PeerClient, start: Any) -> None:
    data, error = ANSWERS[name]
    peer = await start()
    before = open_files()
    if kept:
        await take(client, peer)
    peer.answer = raw(data)
    with pytest.raises(error) as caught:
        await take(client, peer)
    assert type(caught.value) is error
    assert str(address(peer)[1]) in str(caught.value)
    await until(lambda: not open_files() - before)
    peer.answer = None
    assert await take(client, peer) == CONTENT.data[:1000]


async def test_informational_answers_are_skipped(client: PeerClient, start: Any) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    peer = await start(raw(hints * 3 + HEAD + CONTENT.data[:1000]))
    with trio.fail_after(1):
        assert await take(client, peer) == CONTENT.data[:1000]


async def never(stream: trio.SocketStream, first: int, stop: int) -> None:
    await trio.sleep_forever()


async def stops(stream: trio.SocketStream, first: int, stop: int) -> None:
    await stream.send_all(HEAD + bytes(500))
    await trio.sleep_forever()


async def drips(stream: trio.SocketStream, first: int, stop: int) -> None:
    await stream.send_all(HEAD)
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.5)


async def head_drips(stream: trio.SocketStream, first: int, stop: int) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 206"[:1])
        await trio.sleep(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [never, stops, drips, head_drips], ids=lambda answer: answer.__name__)
async def test_slow_answers(answer: Any, client: PeerClient, start: Any, mock_clock: MockClock) -> None:
    mock_clock.rate = 20
    peer = await start(answer)
    began = trio.current_time()
    with pytest.raises(PeerError) as caught:
        await take(client, peer)
    assert isinstance(caught.value, StalledError) or answer is head_drips
    assert trio.current_time() - began < 10


async def test_a_request_that_is_cancelled_leaves_nothing_open(client: PeerClient, start: Any) -> None:
    peer = await start(stops)
    before = open_files()
    with trio.CancelScope() as scope:
        async with client.get(address(peer), DIGEST, 0, 1000) as body:
            await body.read_into(memoryview(bytearray(500)))
            scope.cancel()
            await body.read_into(memoryview(bytearray(500)))
    assert scope.cancelled_caught
    assert not client._idle
    # The peer's end is open until it reads.
    assert len(open_files() - before) <= 1
