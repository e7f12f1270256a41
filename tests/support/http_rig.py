"""A server on a free port, and clients that say exactly what a test wants."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.testing

from p2p.config import ServerLimits
from p2p.net.connection import Connection, Service
from p2p.net.listeners import Listener, open_listeners
from p2p.net.message import Content, Handler, Request, Response
from p2p.net.roster import Roster
from p2p.net.server import Server, serve
from p2p.net.stream_transport import StreamTransport


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True


@dataclass
class Client:
    """A raw HTTP client over any stream."""

    stream: trio.abc.Stream
    buffer: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def get(self, path: str, *headers: str) -> Answer:
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        await self.send("\r\n".join(lines).encode())
        return await self.answer()

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self.buffer += data
        return bool(data)

    async def head(self) -> Answer | None:
        """The next answer's head; None when the connection ends before."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self._more():
                return None
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split()[1]), headers, b"")

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer with its body, which is short where the connection was cut."""
        answer = await self.head()
        assert answer is not None, "the connection was closed without an answer"
        length = (
            0 if method == "HEAD" or answer.status == 100 else int(answer.headers.get("content-length", 0))
        )
        while len(self.buffer) < length:
            if not await self._more():
                answer.complete = False
                break
        answer.body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return answer

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        while await self._more():
            pass
        return bytes(self.buffer)


@dataclass
class Rig:
    """Starts servers in the test's nursery and connects to them."""

    nursery: trio.Nursery
    streams: list[trio.abc.Stream] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    async def serve(self, handler: Handler, address: str = "127.0.0.1:0", **limits: float) -> Server:
        listeners: tuple[Listener, ...] = await open_listeners(address)
        server: Server = await self.nursery.start(serve, handler, listeners, ServerLimits(**limits))
        self.servers.append(server)
        return server

    async def connect(self, server: Server, *, receive_buffer: int = 0) -> Client:
        host, _, port = server.addresses[0].rpartition(":")
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect((host, int(port)))
        except OSError:
            sock.close()
            raise
        stream = trio.SocketStream(sock)
        self.streams.append(stream)
        return Client(stream)

    async def quiet(self, server: Server) -> None:
        """Wait until the server has no connection."""
        await until(lambda: server.statistics().connections == 0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for at most twenty seconds."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - conditions of the code under test have no event
            await trio.sleep(0.001)


@dataclass
class Memory:
    """Serves one connection over memory, for tests with a mock clock."""

    nursery: trio.Nursery

    def connect(
        self, handler: Handler, *, lockstep: bool = False, **limits: float
    ) -> tuple[Client, trio.Event]:
        make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        ours, theirs = make()
        settings = ServerLimits(**limits)
        transport = StreamTransport(
            ours, peer="memory", timeout=settings.body_timeout, rate=settings.minimum_rate
        )
        connection = Connection(transport, Service(handler, settings, Roster(10)))
        ended = trio.Event()

        async def run() -> None:
            await connection.run()
            ended.set()

        self.nursery.start_soon(run)
        return Client(theirs), ended


class NoBody:
    """The body of a request that has none."""

    def __aiter__(self) -> NoBody:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        return b""


async def hello(request: Request) -> Response:
    """Say hello."""
    return Response(200, ((b"Content-Type", b"text/plain"),), Content(b"hello " + request.path.encode()))


def open_descriptors() -> int:
    """Count this process's descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
