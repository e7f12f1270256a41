"""The server over real sockets: order, limits, stopping, and clients that behave badly."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio
import trio_websocket
import trustme

from p2p.config import ServerLimits
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, FileSpan, Request, Response, Spans, Takeover
from p2p.net.server import serve
from tests.support.http_rig import Client, Rig, hello, open_descriptors, until

if TYPE_CHECKING:
    from pathlib import Path


async def test_keep_alive_serves_one_after_the_other(rig: Rig) -> None:
    server = await rig.serve(hello)
    client = await rig.connect(server)
    for path in ("/a", "/b", "/c"):
        answer = await client.get(path)
        assert (answer.status, answer.body) == (200, b"hello " + path.encode())
        assert answer.headers["date"].endswith("GMT")
        assert "connection" not in answer.headers
    statistics = server.statistics()
    assert (statistics.connections, statistics.accepted, statistics.requests) == (1, 1, 3)


async def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = await rig.connect(await rig.serve(hello))
    await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(100)))
    for i in range(100):
        assert (await client.answer()).body == b"hello /%d" % i


async def test_pipelined_behind_a_body_and_behind_spans(rig: Rig) -> None:
    async def handler(request: Request) -> Response:
        data = await request.body.read(100)
        release = trio.Event()

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield b"<"
            await trio.testing.wait_all_tasks_blocked()
            yield data + b">"
            release.set()

        return Response(200, (), Spans(len(data) + 2, parts))

    client = await rig.connect(await rig.serve(handler))
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"1;ext=1\r\nd\r\n2\r\nef\r\n0\r\n\r\n"
    await client.send(post + b"abc" + chunked + post + b"gh")
    assert (await client.answer()).body == b"<abc>"
    assert (await client.answer()).body == b"<def>"
    await client.send(b"i")
    assert (await client.answer()).body == b"<ghi>"


@pytest.mark.slow
async def test_a_file_is_sent_whole(rig: Rig, tmp_path: Path) -> None:
    data = os.urandom(20_000_001)
    path = tmp_path / "data"
    path.write_bytes(data)
    closed: list[int] = []

    async def handler(request: Request) -> Response:
        fd = os.open(path, os.O_RDONLY)

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield FileSpan(fd, 1, len(data) - 2)
            yield data[-1:]

        def close() -> None:
            closed.append(fd)
            os.close(fd)

        return Response(200, (), Spans(len(data) - 1, parts, close))

    client = await rig.connect(await rig.serve(handler))
    for _ in range(2):
        assert (await client.get("/")).body == data[1:]
    await until(lambda: len(closed) == 2)


async def test_stop_drains(rig: Rig) -> None:
    go, waiting = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/slow":
            waiting.set()
            await go.wait()
        return await hello(request)

    listeners = await open_listeners("127.0.0.1:0")
    ended = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[object]) -> None:
            await serve(handler, listeners, ServerLimits(drain_timeout=30), task_status=task_status)
            ended.set()

        server = await nursery.start(run)
        busy, idle = await rig.connect(server), await rig.connect(server)
        assert (await idle.get("/")).status == 200
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await waiting.wait()
        server.stop()
        server.stop()
        with trio.fail_after(5):
            assert await idle.rest() == b""  # closed at once
        with pytest.raises(OSError, match="refused"):
            await rig.connect(server)
        assert not ended.is_set()
        go.set()
        answer = await busy.answer()
        assert answer.body == b"hello /slow"
        assert answer.headers["connection"] == "close"
        with trio.fail_after(5):
            assert await busy.rest() == b""
            await ended.wait()


async def test_stop_cuts_what_outlasts_the_drain(rig: Rig) -> None:
    closed: list[bool] = []

    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield b"x"
            await trio.sleep_forever()

        return Response(200, (), Spans(2, parts, lambda: closed.append(True)))

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        server = await nursery.start(serve, handler, listeners, ServerLimits(drain_timeout=0.02))
        client = await rig.connect(server)
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.head() is not None
        server.stop()
        with trio.fail_after(5):
            assert await client.rest() == b"x"
    assert closed == [True]


async def test_cancelling_cuts_everything_and_leaks_nothing(rig: Rig) -> None:
    states: list[str] = []

    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            try:
                yield b"x"
                states.append("sent")
                await trio.sleep_forever()
            finally:
                states.append("closed")

        return Response(200, (), Spans(2, parts, lambda: states.append("body done")))

    before = open_descriptors()
    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        server = await nursery.start(serve, handler, listeners)
        sockets = [socket.create_connection(("127.0.0.1", listeners[0].port)) for _ in range(3)]
        sockets[0].send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets[1].send(b"GET / HT")
        await until(lambda: server.statistics().connections == 3 and "sent" in states)
        nursery.cancel_scope.cancel()
    for sock in sockets:
        sock.close()
    assert states == ["sent", "closed", "body done"]
    assert open_descriptors() == before


@pytest.mark.parametrize("checkpoints", range(12))
async def test_cancelled_at_each_checkpoint(checkpoints: int) -> None:
    """However far an exchange has come, a cancelled server leaves no descriptor and no open body."""
    opened: list[int] = []
    closed: list[int] = []

    async def handler(request: Request) -> Response:
        opened.append(1)

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield b"x"
            await trio.lowlevel.checkpoint()
            yield b"y"

        return Response(200, (), Spans(2, parts, lambda: closed.append(1)))

    before = open_descriptors()
    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        await nursery.start(serve, handler, listeners)
        with socket.create_connection(("127.0.0.1", listeners[0].port)) as sock:
            sock.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert opened == closed
    assert open_descriptors() == before


async def test_a_client_that_leaves_ends_a_waiting_body_at_once(rig: Rig) -> None:
    states: list[str] = []

    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            try:
                yield b"x"
                await trio.sleep_forever()
            finally:
                states.append("left")

        return Response(200, (), Spans(100, parts, lambda: states.append("closed")))

    server = await rig.serve(handler)
    for pipelined in (b"", b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"):
        client = await rig.connect(server)
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + pipelined)
        head = await client.head()
        assert head is not None
        assert head.headers["content-length"] == "100"
        await client.stream.aclose()
        await rig.quiet(server)
    assert states == ["left", "closed"] * 2


@pytest.mark.slow
async def test_a_client_that_pipelines_too_much_is_still_noticed_when_it_leaves(rig: Rig) -> None:
    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            await trio.sleep_forever()
            yield b""

        return Response(200, (), Spans(100, parts))

    server = await rig.serve(handler)
    client = await rig.connect(server)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
    assert await client.head() is not None
    await client.stream.aclose()
    await rig.quiet(server)


@pytest.mark.slow  # tracebacks take long to render
@pytest.mark.parametrize("fault", ["raises", "ends early", "runs over", "short file"])
async def test_a_body_that_does_not_add_up_is_cut(rig: Rig, fault: str, tmp_path: Path) -> None:
    states: list[str] = []
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    async def handler(request: Request) -> Response:
        fd = os.open(path, os.O_RDONLY)

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            try:
                yield b"12345"
                match fault:
                    case "raises":
                        raise RuntimeError("secret")
                    case "runs over":
                        yield b"123456"
                    case "short file":
                        yield FileSpan(fd, 1, 5)
            finally:
                states.append("left")

        def close() -> None:
            states.append("closed")
            os.close(fd)

        return Response(200, (), Spans(10, parts, close))

    server = await rig.serve(handler)
    client = await rig.connect(server)
    answer = await client.get("/")
    assert answer.headers["content-length"] == "10"
    assert not answer.complete
    assert b"12345".startswith(answer.body[:5])
    assert b"secret" not in answer.body
    await rig.quiet(server)
    assert states == ["left", "closed"]


async def test_a_body_that_runs_over_after_its_end_ends_the_connection(rig: Rig) -> None:
    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield b"12345"
            yield b"6"

        return Response(200, (), Spans(5, parts))

    client = await rig.connect(await rig.serve(handler))
    assert (await client.get("/")).body == b"12345"
    assert await client.rest() == b""


async def test_the_head_does_not_wait_for_the_first_part(rig: Rig) -> None:
    go = trio.Event()

    async def handler(request: Request) -> Response:
        async def parts() -> AsyncIterator[FileSpan | bytes]:
            await go.wait()
            yield b"x"

        return Response(200, (), Spans(1, parts))

    client = await rig.connect(await rig.serve(handler))
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with trio.fail_after(5):
        head = await client.head()
    assert head is not None
    go.set()
    with trio.fail_after(5):
        while not client.buffer:
            client.buffer += await client.stream.receive_some(10)
    assert client.buffer == b"x"


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{"body_timeout": 0.3}, {"body_timeout": 0.3, "minimum_rate": 1 << 40}])
async def test_a_reader_that_is_too_slow_is_left(rig: Rig, limits: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    closed = trio.Event()

    async def handler(request: Request) -> Response:
        fd = os.open(path, os.O_RDONLY)

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield FileSpan(fd, 0, 1 << 30)

        def close() -> None:
            os.close(fd)
            closed.set()

        return Response(200, (), Spans(1 << 30, parts, close))

    server = await rig.serve(handler, **limits)
    client = await rig.connect(server, receive_buffer=4096)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.head() is not None
    if "minimum_rate" in limits:
        with trio.move_on_after(5):  # reads all the time, but not fast enough
            while not closed.is_set():
                await client.stream.receive_some(65536)
    with trio.fail_after(5):
        await closed.wait()
        await rig.quiet(server)


async def test_waiting_connections_make_room_and_busy_ones_do_not(rig: Rig) -> None:
    release = trio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/busy":
            await release.wait()
        return await hello(request)

    server = await rig.serve(handler, connections=2)
    busy = [await rig.connect(server) for _ in range(2)]
    for client in busy:
        await client.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: server.statistics().requests == 2)
    third = await rig.connect(server)  # by the kernel; the server pushes back
    await third.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert server.statistics().accepted == 2
    release.set()
    assert (await busy[0].answer()).status == 200
    await busy[0].stream.aclose()
    assert (await third.answer()).body == b"hello /"
    assert server.statistics().evicted == 0


@pytest.mark.slow
async def test_at_the_limit_the_longest_idle_connection_is_evicted(rig: Rig) -> None:
    server = await rig.serve(hello, connections=2)
    idle, half = await rig.connect(server), await rig.connect(server)
    assert (await idle.get("/")).status == 200
    await half.send(b"GET / HT")
    third = await rig.connect(server)
    with trio.fail_after(5):
        assert (await third.get("/")).status == 200
    statistics = server.statistics()
    assert (statistics.connections, statistics.evicted) == (2, 1)


async def test_takeover_by_a_websocket(rig: Rig) -> None:
    async def handler(request: Request) -> Response:
        assert request.header(b"upgrade") == "websocket"

        async def run(stream: trio.abc.Stream) -> None:
            async with trio.open_nursery() as nursery:
                upgrade = await trio_websocket.wrap_server_stream(nursery, stream)
                connection = await upgrade.accept()
                for _ in range(2):
                    await connection.send_message(b"echo " + await connection.get_message())
                await connection.aclose()

        return Response(101, (), Takeover(run))

    server = await rig.serve(handler)
    client = await rig.connect(server)  # the rig closes its stream, trio_websocket does not
    async with trio.open_nursery() as nursery:
        channel = await trio_websocket.wrap_client_stream(nursery, client.stream, "localhost", "/channel")
        for word in (b"one", b"x" * 100_000):
            await channel.send_message(word)
            assert await channel.get_message() == b"echo " + word
        with pytest.raises(trio_websocket.ConnectionClosed):
            await channel.get_message()
    await rig.quiet(server)


async def test_a_stop_ends_what_was_taken_over_at_once(rig: Rig) -> None:
    ended = trio.Event()

    async def handler(request: Request) -> Response:
        async def run(stream: trio.abc.Stream) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        return Response(101, (), Takeover(run))

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        server = await nursery.start(serve, handler, listeners, ServerLimits(drain_timeout=30))
        client = await rig.connect(server)
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.statistics().requests == 1)
        server.stop()
    assert ended.is_set()


async def test_takeover_replays_every_byte(rig: Rig) -> None:
    request_bytes = b"GET /raw HTTP/1.1\r\nHoSt: x\r\nX-Odd:   spaces  \r\n\r\nand more"
    received = bytearray()

    async def handler(request: Request) -> Response:
        async def run(stream: trio.abc.Stream) -> None:
            while len(received) < len(request_bytes) + 5:
                received.extend(await stream.receive_some(7))
            await stream.send_all(b"done")

        return Response(101, (), Takeover(run))

    client = await rig.connect(await rig.serve(handler))
    await client.send(request_bytes[:20])
    await client.send(request_bytes[20:])
    await client.send(b" data")
    assert await client.rest() == b"done"
    assert bytes(received) == request_bytes + b" data"


async def test_tls(rig: Rig, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    path = tmp_path / "data"
    path.write_bytes(data)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def handler(request: Request) -> Response:
        assert request.scheme == "https"
        fd = os.open(path, os.O_RDONLY)

        async def parts() -> AsyncIterator[FileSpan | bytes]:
            yield FileSpan(fd, 0, len(data))

        return Response(200, (), Spans(len(data), parts, lambda: os.close(fd)))

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        server = await nursery.start(
            lambda task_status: serve(handler, listeners, tls=context, task_status=task_status)
        )
        stream = await trio.open_ssl_over_tcp_stream("localhost", listeners[0].port, ssl_context=trusting)
        client = Client(stream)
        for _ in range(2):
            assert (await client.get("/")).body == data
        await trio.aclose_forcefully(stream)
        plain = await rig.connect(server)
        await plain.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in await plain.rest()
        server.stop()


async def test_a_unix_socket(rig: Rig, tmp_path: Path) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, (), Content(request.peer.encode()))

    server = await rig.serve(handler, f"unix:{tmp_path}/admin.sock")
    stream = await trio.open_unix_socket(str(tmp_path / "admin.sock"))
    rig.streams.append(stream)
    assert (await Client(stream).get("/")).body == b"unix"
    assert server.addresses == (f"unix:{tmp_path}/admin.sock",)


async def test_out_of_descriptors_the_server_waits_and_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    server = await rig.serve(hello)
    client = await rig.connect(server)
    assert (await client.get("/")).status == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sock = socket.socket()
    sock.setblocking(False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(BlockingIOError):
            sock.connect(("127.0.0.1", int(server.addresses[0].rpartition(":")[2])))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await client.get("/")).status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    late = Client(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
    rig.streams.append(late.stream)
    assert (await late.get("/")).status == 200
