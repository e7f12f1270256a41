from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

from p2p.net.body import IncomingBody
from p2p.net.errors import BodyError, BodyLostError, BodyTooLargeError
from p2p.net.stream_transport import StreamTransport
from p2p.net.wire import Wire

CHUNKED = b"Transfer-Encoding: chunked"


async def begin(header: bytes, length: int | None) -> tuple[IncomingBody, trio.testing.MemorySendStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    wire = Wire(StreamTransport(ours, peer="x", timeout=30, rate=10), header_bytes=10_000)
    await theirs.send_all(b"PUT / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    await wire.receive()
    assert isinstance(wire.h11.next_event(), h11.Request)
    return IncomingBody(wire, length, timeout=30, rate=10), theirs.send_stream


async def test_reading_in_pieces() -> None:
    body, client = await begin(b"Content-Length: 6", 6)
    await client.send_all(b"abc")
    assert await anext(body) == b"abc"
    assert (body.remaining, body.done) == (3, False)
    await client.send_all(b"defGET")
    assert [data async for data in body] == [b"def"]
    assert (body.remaining, body.done) == (0, True)
    assert [data async for data in body] == []


@pytest.mark.parametrize(("header", "length"), [(b"Content-Length: 6", 6), (CHUNKED, None)])
async def test_a_limit(header: bytes, length: int | None) -> None:
    body, client = await begin(header, length)
    await client.send_all(b"abcdef" if length else b"6\r\nabcdef\r\n0\r\n\r\n")
    with pytest.raises(BodyTooLargeError):
        await body.read(5)
    body, client = await begin(header, length)
    await client.send_all(b"abcdef" if length else b"6\r\nabcdef\r\n0\r\n\r\n")
    assert await body.read(6) == b"abcdef"


async def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read() -> None:
    body, _ = await begin(b"Content-Length: 6", 6)
    with trio.fail_after(1), pytest.raises(BodyTooLargeError):
        await body.read(5)
    assert (body.remaining, body.done) == (6, False)


async def test_no_body() -> None:
    body, _ = await begin(b"X: y", 0)
    assert body.done
    assert await body.read(0) == b""


@pytest.mark.parametrize(("header", "length"), [(b"Content-Length: 6", 6), (CHUNKED, None)])
async def test_a_body_that_stops_short_is_lost(header: bytes, length: int | None) -> None:
    body, client = await begin(header, length)
    await client.send_all(b"5\r\na")
    await client.aclose()
    with pytest.raises(BodyLostError):
        await body.read(10)
    assert body.failed
    with pytest.raises(BodyLostError):
        await anext(body)


async def test_a_broken_chunk_is_an_error_of_the_client() -> None:
    body, client = await begin(CHUNKED, None)
    await client.send_all(b"zz\r\n")
    with pytest.raises(BodyError) as caught:
        await anext(body)
    assert not isinstance(caught.value, BodyLostError)


async def test_one_byte_chunks_are_borne_and_extensions_are_not() -> None:
    body, client = await begin(CHUNKED, None)
    await client.send_all(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert await body.read(20_000) == b"x" * 20_000
    body, client = await begin(CHUNKED, None)
    await client.send_all((b"1;" + b"e" * 100 + b"\r\nx\r\n") * 2000)
    with pytest.raises(BodyError, match="chunk framing"):
        await body.read(2000)


async def test_a_slow_body_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    body, client = await begin(b"Content-Length: 6", 6)
    await client.send_all(b"a")
    assert await anext(body) == b"a"
    with pytest.raises(BodyLostError, match="moved nothing for 30 s"):
        await anext(body)
    assert trio.current_time() == pytest.approx(30)


async def test_reading_can_be_cancelled_and_resumed() -> None:
    body, client = await begin(b"Content-Length: 6", 6)
    with trio.move_on_after(0):
        await anext(body)
    await client.send_all(b"abcdef")
    assert await body.read(6) == b"abcdef"


async def test_expectations() -> None:
    body, client = await begin(b"Content-Length: 1\r\nExpect: 100-continue", 1)
    assert body.expects_continue
    with trio.move_on_after(0):
        await anext(body)
    assert not body.expects_continue
    await client.send_all(b"x")
    assert await body.read(1) == b"x"
