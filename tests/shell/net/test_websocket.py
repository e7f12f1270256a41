"""A WebSocket over memory: beside another implementation, when it is broken off, and what it bears."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair

from p2p.net import websocket
from p2p.net.errors import HandshakeError, WebSocketClosedError
from p2p.net.frames import BINARY, CLOSE, PING, frame
from p2p.net.websocket import WebSocket

MOST = 1 << 20
Memory = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


async def pair(nursery: trio.Nursery) -> tuple[WebSocket, WebSocket]:
    """Two ends of ours: client, server."""
    ours, theirs = memory_stream_pair()
    ends: dict[str, WebSocket] = {}

    async def accept() -> None:
        ends["server"] = await websocket.accept(theirs, "client", most=MOST)

    async with trio.open_nursery() as connecting:
        connecting.start_soon(accept)
        ends["client"] = await websocket.connect(ours, "server", "/", most=MOST)
    return ends["client"], ends["server"]


async def receive(end: WebSocket, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        got += await end.receive()
    return got


async def test_many_messages_are_one_write_and_one_wake() -> None:
    async with trio.open_nursery() as nursery:
        client, server = await pair(nursery)
        for one, other in ((client, server), (server, client)):
            messages = [b"a", b"", bytes(70_000 - 400), b"z"]
            await one.send(messages)
            got = await receive(other, len(messages))
            assert got == messages
            await one.send([b"1", b"2", b"3"])
            assert await other.receive() == [b"1", b"2", b"3"]
            await one.send([])


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    ours, theirs = memory_stream_pair()

    async def accept() -> None:
        server = await websocket.accept(theirs, "client", most=MOST)
        await server.send([b"early"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        client = await websocket.connect(ours, "server", "/", most=MOST)
        assert await client.receive() == [b"early"]


@pytest.mark.parametrize("we_dial", [True, False])
async def test_beside_another_implementation(we_dial: bool) -> None:
    ours, theirs = memory_stream_pair()
    other: Any = None
    async with trio.open_nursery() as nursery:

        async def foreign() -> None:
            nonlocal other
            if we_dial:
                request = await trio_websocket.wrap_server_stream(nursery, theirs)
                other = await request.accept()
            else:
                other = await trio_websocket.wrap_client_stream(nursery, theirs, "here", "/path")

        async with trio.open_nursery() as connecting:
            connecting.start_soon(foreign)
            mine = (
                await websocket.connect(ours, "there", "/path", most=MOST)
                if we_dial
                else await websocket.accept(ours, "there", most=MOST)
            )
        await mine.send([b"one", b"two"])
        assert [await other.get_message(), await other.get_message()] == [b"one", b"two"]
        await other.send_message(bytes(200_000))
        assert await mine.receive() == [bytes(200_000)]
        nursery.start_soon(_end, mine)
        await other.ping()
        await other.aclose(1000, "enough")
        with pytest.raises(WebSocketClosedError, match="goodbye: enough"):
            await mine.receive()
        nursery.cancel_scope.cancel()


async def _end(end: WebSocket) -> None:
    with suppress(WebSocketClosedError):
        while True:
            await end.receive()


async def test_a_ping_is_answered_by_who_receives() -> None:
    async with trio.open_nursery() as nursery:
        client, server = await pair(nursery)
        nursery.start_soon(_end, client)
        nursery.start_soon(_end, server)
        for _ in range(3):
            await client.ping()
            await server.ping()
        nursery.cancel_scope.cancel()


async def test_a_goodbye_ends_both_sides() -> None:
    async with trio.open_nursery() as nursery:
        client, server = await pair(nursery)
        nursery.start_soon(server.aclose, 1008, "banned")
        with pytest.raises(WebSocketClosedError, match="banned"):
            await client.receive()
        with pytest.raises(WebSocketClosedError):
            await client.receive()
        await client.aclose()
        with pytest.raises(WebSocketClosedError):
            await client.send([b"late"])


async def test_messages_before_a_goodbye_or_a_fault_are_given() -> None:
    for last in (frame(CLOSE, b"\x03\xe8"), b"\xff\x00"):
        ours, theirs = memory_stream_pair()
        mine = WebSocket(ours, client=True, remote="it", most=MOST)
        await theirs.send_all(frame(BINARY, b"good") + last + frame(BINARY, b"never"))
        assert await mine.receive() == [b"good"]
        with pytest.raises(WebSocketClosedError):
            await mine.receive()
        answer = bytes(await theirs.receive_some())
        assert answer[0] == 0x80 | CLOSE


async def test_a_message_too_large_ends_it() -> None:
    ours, theirs = memory_stream_pair()
    mine = WebSocket(ours, client=True, remote="it", most=10)
    await theirs.send_all(frame(BINARY, bytes(11)))
    with pytest.raises(WebSocketClosedError, match="more than 10 bytes"):
        await mine.receive()


async def test_an_end_without_a_goodbye() -> None:
    ours, theirs = memory_stream_pair()
    mine = WebSocket(ours, client=True, remote="it", most=MOST)
    await theirs.aclose()
    with pytest.raises(WebSocketClosedError, match="it: the other side closed it"):
        await mine.receive()
    with pytest.raises(WebSocketClosedError):
        await mine.send([b"x"])


async def test_a_ping_that_cannot_be_answered_ends_it_behind_its_messages() -> None:
    ours, theirs = memory_stream_pair()
    mine = WebSocket(ours, client=True, remote="it", most=MOST)
    await theirs.send_all(frame(BINARY, b"good") + frame(PING, b"?"))
    await ours.send_stream.aclose()
    assert await mine.receive() == [b"good"]
    with pytest.raises(WebSocketClosedError, match="broke"):
        await mine.receive()


async def test_nothing_follows_a_frame_that_went_out_in_part() -> None:
    ours, theirs = memory_stream_pair()
    mine = WebSocket(ours, client=True, remote="it", most=MOST)
    ours.send_stream.send_all_hook = trio.sleep_forever
    with trio.move_on_after(0.01):
        await mine.send([b"half"])
    ours.send_stream.send_all_hook = None
    with pytest.raises(WebSocketClosedError, match="before"):
        await mine.send([b"next"])
    await ours.send_stream.aclose()
    (mask,) = {len(frame(BINARY, b"half", bytes(4)))}
    assert len(await theirs.receive_some()) <= mask


async def test_a_goodbye_that_is_not_answered(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client, _ = await pair(nursery)
        began = trio.current_time()
        await client.aclose()
        assert trio.current_time() - began == pytest.approx(websocket.CLOSE_SECONDS)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAA\r\n\r\n"
        ),
        b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        b"",
    ],
    ids=["refused", "no key", "another's key", "no HTTP", "gone"],
)
async def test_who_answers_as_no_websocket_does(answer: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_stream.aclose()
    with pytest.raises(HandshakeError):
        await websocket.connect(ours, "it", "/", most=MOST)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        ),
        b"\x16\x03\x01\r\n\r\n",
        b"",
    ],
    ids=["plain", "old version", "no key", "TLS", "gone"],
)
async def test_who_asks_for_no_websocket(request_: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(request_)
    await theirs.send_stream.aclose()
    with pytest.raises(HandshakeError):
        await websocket.accept(ours, "it", most=MOST)
