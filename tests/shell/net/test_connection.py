"""One connection, over memory: protocol, hostile shapes, handlers' faults, and times on a mock clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.core.oci.error import RegistryError
from p2p.net.errors import BodyTooLargeError
from p2p.net.message import Content, FileSpan, Request, Response, Spans, Takeover
from tests.support.http_rig import Client, Memory, hello

HOST = b"Host: x\r\n"


async def echo(request: Request) -> Response:
    return Response(200, (), Content(await request.body.read(1000)))


async def one(memory: Memory, data: bytes) -> tuple[Client, trio.Event]:
    client, ended = memory.connect(echo)
    await client.send(data)
    return client, ended


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x00\x01\x02\x03", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n\tz\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b": y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET example.com HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT example.com:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 10_000 + b"\r\n", 431),
    ],
)
async def test_hostile_heads_are_refused_and_the_connection_ends(
    memory: Memory, data: bytes, status: int
) -> None:
    client, ended = await one(memory, data + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await client.answer()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.body.startswith(b"The request is refused")
    await trio.testing.wait_all_tasks_blocked()
    await _hang_up(client)
    with trio.fail_after(5):
        await ended.wait()
    assert await client.rest() == b""


async def _hang_up(client: Client) -> None:
    assert isinstance(client.stream, trio.StapledStream)
    await client.stream.send_eof()


@pytest.mark.parametrize("data", [b"GET /" + b"y" * 40_000, b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000])
async def test_a_head_that_grows_too_large_is_refused_before_its_end(memory: Memory, data: bytes) -> None:
    client, _ = await one(memory, data)
    assert (await client.answer()).status == 431


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\nx",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFFFFFF\r\nx",
        b"1" + b";" + b"e" * 40_000,
        b"1;" + b"e" * 17_000 + b"\r\nx\r\n" + b"1;" + b"e" * 17_000 + b"\r\nx\r\n",
        b"".join(b"1;%b\r\nx\r\n" % (b"e" * 1000) for _ in range(200)),
    ],
)
async def test_hostile_chunks_are_refused_and_the_connection_ends(memory: Memory, body: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client, ended = memory.connect(echo)
    await client.send(head)
    for start in range(0, len(body), 10_000):
        await client.send(body[start : start + 10_000])
        await trio.testing.wait_all_tasks_blocked()
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    await client.stream.aclose()
    with trio.fail_after(5):
        await ended.wait()


async def test_tls_on_the_plain_port_is_told_so_at_once(memory: Memory) -> None:
    client, _ = await one(memory, b"\x16\x03\x01\x02\x00\x01\x00")
    answer = await client.answer()
    assert answer.status == 400
    assert b"plain HTTP" in answer.body
    assert answer.headers["content-type"].startswith("text/plain")


async def test_http_1_0_gets_an_answer_and_the_end(memory: Memory) -> None:
    client, _ = await one(memory, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.rest() == b""


async def test_a_client_may_ask_for_the_end(memory: Memory) -> None:
    client, _ = memory.connect(hello)
    answer = await client.get("/", "Connection: Close")
    assert answer.headers["connection"] == "close"
    assert await client.rest() == b""


async def test_absolute_targets(memory: Memory) -> None:
    async def handler(request: Request) -> Response:
        host = (request.header(b"host") or "").encode()
        return Response(200, (), Content(b" ".join((host, request.path.encode(), request.query.encode()))))

    client, _ = memory.connect(handler)
    for target, expected in (
        (b"http://node:5000/v2/?a=b?c", b"node:5000 /v2/ a=b?c"),
        (b"HTTP://node", b"node / "),
        (b"/v2/%2e%2e/x?", b"x /v2/%2e%2e/x "),
        (b"*", b"x * "),
    ):
        await client.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).body == expected


@pytest.mark.parametrize("kind", ["content", "spans"])
async def test_head_has_the_length_and_no_body(memory: Memory, kind: str) -> None:
    states: list[str] = []

    async def parts() -> AsyncIterator[FileSpan | bytes]:
        states.append("started")
        yield b"x" * 1000

    async def handler(request: Request) -> Response:
        if kind == "content":
            return Response(200, (), Content(b"x" * 1000))
        return Response(200, (), Spans(1000, parts, lambda: states.append("closed")))

    client, _ = memory.connect(handler)
    for _ in range(2):
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.answer("HEAD")
        assert answer.headers["content-length"] == "1000"
        await trio.testing.wait_all_tasks_blocked()
        assert not client.buffer
    assert states == (["closed", "closed"] if kind == "spans" else [])


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(memory: Memory, status: int) -> None:
    async def handler(request: Request) -> Response:
        return Response(status, (), Content(b"never"))

    client, _ = memory.connect(handler)
    for _ in range(2):
        answer = await client.get("/")
        assert answer.status == status
        assert "content-length" not in answer.headers


async def test_empty_spans(memory: Memory) -> None:
    closed: list[int] = []

    async def parts() -> AsyncIterator[FileSpan | bytes]:
        raise AssertionError
        yield b""

    async def handler(request: Request) -> Response:
        return Response(200, (), Spans(0, parts, lambda: closed.append(1)))

    client, _ = memory.connect(handler)
    assert (await client.get("/")).headers["content-length"] == "0"
    assert (await client.get("/")).body == b""
    assert len(closed) >= 1


async def test_the_server_alone_frames(memory: Memory) -> None:
    async def handler(request: Request) -> Response:
        headers = ((b"content-length", b"99"), (b"Transfer-Encoding", b"chunked"), (b"X-Mine", b"1"))
        return Response(200, headers, Content(b"abc"), close=True)

    client, _ = memory.connect(handler)
    answer = await client.get("/")
    assert (answer.body, answer.headers["x-mine"]) == (b"abc", "1")
    assert "transfer-encoding" not in answer.headers
    assert await client.rest() == b""


async def test_continue_is_sent_when_the_body_is_read(memory: Memory) -> None:
    reading = trio.Event()

    async def handler(request: Request) -> Response:
        await reading.wait()
        return await echo(request)

    client, _ = memory.connect(handler)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    reading.set()
    assert (await client.answer()).status == 100
    await client.send(b"ab")
    await client.send(b"c")
    assert (await client.answer()).body == b"abc"
    assert (await client.get("/")).status == 200


async def test_no_continue_when_it_is_not(memory: Memory) -> None:
    client, _ = memory.connect(hello)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_a_small_unread_body_is_dropped_and_the_connection_kept(memory: Memory) -> None:
    client, _ = memory.connect(hello)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 999)
    assert (await client.answer()).status == 200
    await client.send(b"xGET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.answer()).body == b"hello /next"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_another_unread_body_ends_the_connection(memory: Memory, framing: bytes) -> None:
    client, _ = memory.connect(hello)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.slow  # tracebacks take long to render
async def test_faults_of_handlers(memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(request: Request) -> Response:
        match request.path:
            case "/registry":
                raise RegistryError("BLOB_UNKNOWN", "no such blob", {"digest": "sha256:x"})
            case "/grouped":
                async with trio.open_nursery():
                    raise RegistryError("DENIED", "no")
            case "/large":
                raise BodyTooLargeError(10)
            case "/impossible":
                return Response(200, ((b"X", b"a\r\nInjected: yes"),))
            case _:
                raise RuntimeError("secret")

    client, _ = memory.connect(handler)
    answer = await client.get("/registry")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert json.loads(answer.body)["errors"][0]["code"] == "BLOB_UNKNOWN"
    assert (await client.get("/grouped")).status == 403
    answer = await client.get("/other")
    assert answer.status == 500
    assert json.loads(answer.body)["errors"][0]["code"] == "UNKNOWN"
    assert b"secret" not in answer.body
    assert "secret" in capsys.readouterr().out
    answer = await client.get("/large")
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    client, _ = memory.connect(handler)
    answer = await client.get("/impossible")
    assert answer.status == 500
    assert "injected" not in answer.headers


async def test_a_takeover_after_the_body_was_read_is_a_bug(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(stream: trio.abc.Stream) -> None:
        raise AssertionError

    async def handler(request: Request) -> Response:
        await request.body.read(10)
        return Response(101, (), Takeover(run))

    client, ended = memory.connect(handler)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    await ended.wait()
    assert "must not read the body" in capsys.readouterr().out


async def test_a_taken_over_client_that_leaves_is_no_fault(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery():
            raise trio.BrokenResourceError

    async def handler(request: Request) -> Response:
        return Response(101, (), Takeover(run))

    client, ended = memory.connect(handler)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await ended.wait()
    assert "connection failed" not in capsys.readouterr().out


async def test_slow_heads_are_left_without_an_answer(
    memory: Memory, autojump_clock: trio.testing.MockClock
) -> None:
    client, ended = memory.connect(hello, header_timeout=10)
    for byte in b"GET / HT":
        await client.send(bytes([byte]))
        await trio.sleep(1)
    assert not ended.is_set()
    assert await client.rest() == b""
    await ended.wait()
    assert trio.current_time() == pytest.approx(10)


async def test_idle_connections_are_closed(memory: Memory, autojump_clock: trio.testing.MockClock) -> None:
    client, ended = memory.connect(hello, header_timeout=10, idle_timeout=75)
    await client.get("/")
    start = trio.current_time()
    await trio.sleep(70)
    await client.send(b"G")
    await trio.sleep(6)  # past the idle timeout: it has begun
    await client.send(b"ET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.answer()).status == 200
    assert await client.rest() == b""
    assert trio.current_time() - start == pytest.approx(76 + 75)
    client, ended = memory.connect(hello, header_timeout=10, idle_timeout=75)
    await client.get("/")
    start = trio.current_time()
    await client.send(b"G")
    await ended.wait()
    assert trio.current_time() - start == pytest.approx(10)


@pytest.mark.parametrize("pause", [31.0, 5.0])
async def test_slow_bodies_are_left(
    memory: Memory, autojump_clock: trio.testing.MockClock, pause: float
) -> None:
    client, ended = memory.connect(echo, body_timeout=30, minimum_rate=1024)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    with trio.move_on_after(100):
        while not ended.is_set():
            await trio.sleep(pause)
            try:
                await client.send(b"x")
            except trio.BrokenResourceError:
                break
    assert await client.rest() == b""  # nobody to answer to
    await ended.wait()
    assert trio.current_time() <= 35 + 1


async def test_a_slow_but_steady_body_is_fine(memory: Memory, autojump_clock: trio.testing.MockClock) -> None:
    async def count(request: Request) -> Response:
        return Response(200, (), Content(b"%d" % len(await request.body.read(1 << 20))))

    client, _ = memory.connect(count, body_timeout=30, minimum_rate=1024)
    await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
    for _ in range(100):
        await trio.sleep(1.5)
        await client.send(b"x" * 2000)
    assert (await client.answer()).body == b"200000"


async def test_slow_readers_are_left(memory: Memory, autojump_clock: trio.testing.MockClock) -> None:
    closed: list[float] = []

    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield b"x" * 1_000_000

        return Response(200, (), Spans(1_000_000, parts, lambda: closed.append(trio.current_time())))

    client, ended = memory.connect(handler, lockstep=True, body_timeout=30, minimum_rate=1024)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.stream.receive_some(10)
    await ended.wait()
    assert 30 <= closed[0] <= 100


async def test_waiting_for_our_own_parts_is_not_the_clients_fault(
    memory: Memory, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            for _ in range(10):
                await trio.sleep(100)
                yield b"x"

        return Response(200, (), Spans(10, parts))

    client, _ = memory.connect(handler, body_timeout=30, minimum_rate=1024)
    assert (await client.get("/")).body == b"x" * 10


async def test_a_client_that_ends_its_side_after_a_request_gets_the_answer(memory: Memory) -> None:
    client, _ = memory.connect(hello)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(client.stream, trio.StapledStream)
    await client.stream.send_eof()
    assert (await client.answer()).body == b"hello /"
    assert await client.rest() == b""


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_split_of_the_stream_gives_the_same_answers(data: st.DataObject) -> None:
    stream = (
        b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
        b"POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nfgh\r\n0\r\nT: x\r\n\r\n"
        b"GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            client, ended = Memory(nursery).connect(echo)
            for piece in pieces:
                await client.send(piece)
                await trio.testing.wait_all_tasks_blocked()
            bodies = [(await client.answer()).body for _ in range(4)]
            assert bodies == [b"", b"abcde", b"fgh", b""]
            await ended.wait()

    trio.run(main)


FRAGMENTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"5\r\nabcde\r\n",
    b"0\r\n\r\n",
]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(FRAGMENTS)), max_size=12),
)
def test_garbage_never_fails_a_connection(pieces: list[bytes]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            client, ended = Memory(nursery).connect(echo)
            for piece in pieces:
                if piece:
                    await client.send(piece)
                await trio.testing.wait_all_tasks_blocked()
            await _hang_up(client)
            while (answer := await client.head()) is not None:
                assert answer.status in {100, 200, 400, 413, 431, 501, 505}
                length = int(answer.headers.get("content-length", 0))
                while len(client.buffer) < length:
                    client.buffer += await client.stream.receive_some(100)
                del client.buffer[:length]
            await ended.wait()

    trio.run(main)
