"""A registry that is a dictionary, behind the real server, with faults to switch on."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio_websocket

from p2p.core.wire import codec
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, Handler, Request, Response, Spans
from p2p.net.server import serve


@dataclass
class Registry:
    """Path under /v2/ → (type, bytes); ``cut`` paths end after so many bytes, once each."""

    content: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)

    async def handle(self, request: Request) -> Response:
        path = request.path.removeprefix("/v2/")
        span = request.header(b"range")
        self.asked.append((path, request.query, span))
        if path in self.status:
            return Response(self.status[path], body=Content(b'{"errors":[{"code":"X","message":"no more"}]}'))
        if path not in self.content:
            return Response(404, body=Content(b'{"errors":[{"code":"X","message":"not known here"}]}'))
        kind, data = self.content[path]
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        headers = [(b"content-type", kind.encode())]
        if span:
            headers.append((b"content-range", f"bytes {start}-{len(data) - 1}/{len(data)}".encode()))
        part = data[start:]
        end = self.cut.pop(path, len(part))

        async def parts() -> AsyncIterator[bytes]:
            yield part[:end]
            if end < len(part):
                raise ConnectionResetError

        return Response(206 if span else 200, tuple(headers), Spans(len(part), parts))


Open = Callable[[Handler], AbstractAsyncContextManager[str]]


@pytest.fixture
def open_server() -> Open:
    """Give an async context manager that serves a handler and yields its base URL."""

    @asynccontextmanager
    async def opened(handler: Handler, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve, handler, await open_listeners(address))
            yield f"http://{server.addresses[0]}"
            server.stop()

    return opened


@pytest.fixture
def registry() -> Registry:
    return Registry()


@dataclass
class TrackerTwin:
    """Answers each message it gets by the next list of its script; None closes, bytes go as they are."""

    script: list[list[object]]
    url: str = ""
    got: list[object] = field(default_factory=list)
    arrived: trio.Condition = field(default_factory=trio.Condition)

    async def serve(self, request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                self.got.append(codec.TO_TRACKER.decode(await socket.get_message()))
                async with self.arrived:
                    self.arrived.notify_all()
                for answer in self.script.pop(0) if self.script else []:
                    if answer is None:
                        await socket.aclose(1001, "going away")
                        return
                    await socket.send_message(answer if isinstance(answer, bytes) else codec.encode(answer))

    async def wait_for(self, count: int) -> None:
        with trio.fail_after(5):
            async with self.arrived:
                while len(self.got) < count:
                    await self.arrived.wait()


@pytest.fixture
def open_tracker_twin() -> Callable[[list[list[object]]], AbstractAsyncContextManager[TrackerTwin]]:
    """Give an async context manager that serves a scripted tracker."""

    @asynccontextmanager
    async def opened(script: list[list[object]]) -> AsyncIterator[TrackerTwin]:
        twin = TrackerTwin(script)
        async with trio.open_nursery() as nursery:
            start = partial(trio_websocket.serve_websocket, twin.serve, "127.0.0.1", 0, ssl_context=None)
            server = await nursery.start(start)
            twin.url = f"ws://127.0.0.1:{server.port}"
            yield twin
            nursery.cancel_scope.cancel()

    return opened
