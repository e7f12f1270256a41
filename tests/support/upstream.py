"""A scriptable HTTP server over real TCP: what a registry, its token realm or its storage may say."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from p2p.core.oci.digest import Digest


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


@dataclass(frozen=True)
class Reply:
    """An answer. ``cut``: close the connection after so many body bytes; ``stall``: be silent after them.

    ``length``: what Content-Length states; None: chunked; -1: the body's length.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = -1
    cut: int | None = None
    stall: int | None = None


Script = Callable[[Request], Reply]


@dataclass
class Upstream:
    """A running server: ``script`` answers, ``requests`` remembers, ``sent`` counts body bytes."""

    script: Script
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    hold: trio.Event | None = None
    """While set and not fired, answers to ranges that do not begin at 0 wait."""

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}"

    def asked(self, method: str = "GET", part: str = "") -> list[Request]:
        return [r for r in self.requests if r.method == method and part in r.target]

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request, body = None, b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some(65536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert request is not None
            seen = Request(
                request.method.decode(),
                request.target.decode(),
                {name.decode(): value.decode() for name, value in request.headers},
                body,
            )
            self.requests.append(seen)
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            if self.hold is not None and not seen.headers.get("range", "bytes=0-").startswith("bytes=0-"):
                await self.hold.wait()
            try:
                if not await self._reply(connection, stream, seen, self.script(seen)):
                    return
            finally:
                self.open_now -= 1
            connection.start_next_cycle()

    async def _reply(
        self, connection: h11.Connection, stream: trio.abc.Stream, request: Request, reply: Reply
    ) -> bool:
        headers = list(reply.headers)
        if reply.length is not None:
            length = len(reply.body) if reply.length < 0 else reply.length
            headers.append(("content-length", str(length)))
        await stream.send_all(connection.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
        if request.method == "HEAD":
            connection.send(h11.EndOfMessage())
            return connection.our_state is h11.DONE
        end = reply.stall if reply.cut is None else reply.cut
        body = reply.body[:end]
        if body:
            self.sent += len(body)
            await stream.send_all(connection.send(h11.Data(data=body)) or b"")
        if reply.stall is not None:
            await trio.sleep_forever()
        if reply.cut is not None:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return connection.our_state is h11.DONE


@asynccontextmanager
async def upstream(script: Script, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Upstream]:
    """Run a server on a free port of 127.0.0.1 for the block."""
    server = Upstream(script)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    server.port = listener.socket.getsockname()[1]

    async def handle(stream: trio.SocketStream) -> None:
        if tls is None:
            await server.serve(stream)
            return
        try:
            await server.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True))
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


@dataclass
class Registry:
    """A script: a small registry of blobs and manifests. ``ranges``: whether it knows Range."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    ranges: bool = True
    digests: bool = True

    def add_blob(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[str(digest)] = data
        return digest

    def add_manifest(self, data: bytes, media_type: str, *tags: str) -> Digest:
        digest = Digest.of(data)
        for name in (str(digest), *tags):
            self.manifests[name] = media_type, data
        return digest

    def __call__(self, request: Request) -> Reply:
        name = request.path.rpartition("/")[2]
        if "/blobs/" in request.path and name in self.blobs:
            return ranged(request, self.blobs[name]) if self.ranges else Reply(200, self.blobs[name])
        if "/manifests/" in request.path and name in self.manifests:
            media_type, data = self.manifests[name]
            headers = (("content-type", media_type),)
            if self.digests:
                headers += (("docker-content-digest", str(Digest.of(data))),)
            return Reply(200, data, headers)
        body = json.dumps({"errors": [{"code": "NOT_FOUND", "message": "not known to registry"}]}).encode()
        return Reply(404, body)


def ranged(request: Request, data: bytes) -> Reply:
    """Answer a GET of ``data`` as a server with ranges does."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return Reply(200, data)
    start, stop = int(match[1]), min(int(match[2]) + 1 if match[2] else len(data), len(data))
    if start >= stop:
        return Reply(416, headers=(("content-range", f"bytes */{len(data)}"),))
    span = ("content-range", f"bytes {start}-{stop - 1}/{len(data)}")
    return Reply(206, data[start:stop], (span,))
