"""A registry that is a dictionary, behind the real server, with faults to switch on."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import trio

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
    login: str = ""
    """The Authorization that is wanted, where one is."""
    given: list[str | None] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        path = request.path.removeprefix("/v2/")
        span = request.header(b"range")
        self.asked.append((path, request.query, span))
        self.given.append(request.header(b"authorization"))
        if self.login and self.given[-1] != self.login:
            return Response(401, body=Content(b'{"errors":[{"code":"X","message":"it is private"}]}'))
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


@asynccontextmanager
async def opened(handler: Handler, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve a handler and yield its base URL."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, handler, await open_listeners(address))
        yield f"http://{server.addresses[0]}"
        server.stop()
