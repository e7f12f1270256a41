"""A peer of the tests' own in the same trio run: honest until told otherwise, one thing at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
import trio_websocket

from p2p.core.wire.codec import decoder, encode
from p2p.core.wire.common import PROTOCOL_VERSION, Provider
from p2p.core.wire.peer import Absent, Midstates, PeerHello, PeerMessage, State, Subscribe

if TYPE_CHECKING:
    from p2p.core.swarm.midstates import Midstates as StateList
    from tests.support.store_rig import Blob

EXCHANGE = b"/p2p/v1/exchange"
_decode = decoder(PeerMessage)

Answer = Callable[[trio.SocketStream, int, int], Awaitable[None]]


def damaged(blob: Blob, *chunks: int) -> bytes:
    """The blob's bytes with the first bit of some chunks flipped."""
    data = bytearray(blob.data)
    for index in chunks:
        data[blob.layout.offset(index)] ^= 1
    return bytes(data)


@dataclass
class Liar:
    """Claims to have ``blob``. ``data`` is what it sends, ``states`` the list it commits to.

    ``answer`` replaces a whole HTTP response; ``messages`` what a subscription is answered with, bytes or
    text as they are; ``hello`` the greeting, None for none. ``asked`` are the ranges it was asked for.
    """

    blob: Blob
    name: str = "liar"
    data: bytes = b""
    states: StateList | None = None
    answer: Answer | None = None
    messages: Callable[[Subscribe], list[Any]] | None = None
    hello: Any = ...
    complete: bool = True
    asked: list[tuple[int, int]] = field(default_factory=list)
    connections: int = 0
    links: list[trio_websocket.WebSocketConnection] = field(default_factory=list)
    provider: Provider = field(init=False)

    def __post_init__(self) -> None:
        self.node = self.name.encode().hex().ljust(32, "0")[:32]
        self.data = self.data or self.blob.data
        self.states = self.blob.midstates if self.states is None else self.states

    async def run(self, *, task_status: trio.TaskStatus[Provider] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        self.provider = Provider(self.node, self.name, "127.0.0.1", port, self.complete)
        task_status.started(self.provider)
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed):
            async with stream:
                while head := await read_head(stream):
                    if EXCHANGE in head.split(b"\r\n", 1)[0]:
                        await self._exchange(Replayed(head, stream))
                        return
                    first, stop = _range(head)
                    self.asked.append((first, stop))
                    if self.answer is not None:
                        await self.answer(stream, first, stop)
                    else:
                        await send_range(stream, self.data, first, stop)

    async def _exchange(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            websocket = await request.accept()
            self.links.append(websocket)
            with suppress(trio_websocket.ConnectionClosed):
                hello = self.hello
                if hello is ...:
                    hello = PeerHello(PROTOCOL_VERSION, self.node, self.name, self.provider.port)
                if hello is not None:
                    await send_message(websocket, hello)
                while True:
                    message = _decode(await websocket.get_message())
                    if isinstance(message, Subscribe):
                        for reply in (self.messages or self._state)(message):
                            await send_message(websocket, reply)
            nursery.cancel_scope.cancel()

    def _state(self, message: Subscribe) -> list[Any]:
        if message.digest != str(self.blob.digest):
            return [Absent(message.digest)]
        assert self.states is not None
        return [
            State(message.digest, len(self.data), complete=True),
            Midstates(message.digest, 0, self.states.states, self.states.list_id()),
        ]


async def send_message(websocket: trio_websocket.WebSocketConnection, message: Any) -> None:
    await websocket.send_message(message if isinstance(message, bytes | str) else encode(message))


async def send_range(stream: trio.SocketStream, data: bytes, first: int, stop: int) -> None:
    """Answer a range as an honest peer does."""
    await stream.send_all(range_head(first, stop, len(data)))
    await stream.send_all(data[first:stop])


def range_head(first: int, stop: int, size: int, *, length: int | None = None, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {stop - first if length is None else length}\r\n"
        f"Content-Range: bytes {first}-{stop - 1}/{size}\r\n{more}\r\n"
    ).encode()


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = await stream.receive_some(65536)
        if not received:
            return b""
        head += bytes(received)
    return head


def _range(head: bytes) -> tuple[int, int]:
    lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    first, _, last = headers["range"].removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


class Replayed(trio.abc.Stream):
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, stream: trio.SocketStream) -> None:
        self._start = start
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._start:
            start, self._start = self._start, b""
            return start
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
