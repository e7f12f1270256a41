"""A peer of the tests' own, honest or lying, over real sockets.

It speaks ``p2p.core.wire.peer`` over a WebSocket and answers ranges over HTTP, on one port, as nodes do.
It runs trio in a thread of its own, so that plain tests can hold it as a context manager.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Self

import trio
import trio_websocket

from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import Midstates as StateList
from p2p.core.wire.codec import decoder, encode
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.core.wire.peer import (
    Absent,
    FindReference,
    FoundReference,
    Midstates,
    PeerHello,
    PeerMessage,
    State,
    Subscribe,
)
from p2p.core.wire.tracker import Announce, NodeHello
from p2p.store.verify import LinkHasher
from tests.support.liar import Replayed, read_head

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGE = "/p2p/v1/exchange"
BLOBS = "/p2p/v1/blobs/"
_decode = decoder(PeerMessage)


class Lie(Enum):
    """What is wrong with a peer."""

    NONE = "honest"
    WRONG_BYTES = "the right list, and chunks with a flipped bit"
    FALSE_LIST = "a list over other bytes, and those bytes: only the last link gives it away"
    STALL = "the right list, and answers that stop after the head"


class HostilePeer:
    """Claims to have the blobs in ``files``, by digest; ``requests`` counts what it was asked for.

    ``address`` is for ``--peer``; ``node`` is the id it greets with and that bans name. ``tracker``: the URL
    of one that it announces itself to.
    """

    def __init__(
        self, files: Mapping[str, Path], lie: Lie, *, name: str = "hostile", tracker: str = ""
    ) -> None:
        self.name = name
        self._tracker = tracker
        self.node = name.encode().hex().ljust(32, "0")[:32]
        self.lie = lie
        self.requests = 0
        self.address = ""
        self._blobs = {digest: _Claimed(digest, path, lie) for digest, path in files.items()}
        self._stop: Callable[[], None] = lambda: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(10)

    async def _run(self) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._port = listener.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            self._stop = lambda: token.run_sync_soon(scope.cancel)
            async with trio.open_nursery() as nursery:
                if self._tracker:
                    await nursery.start(self._announce)
                self._ready.set()
                await trio.serve_listeners(self._serve, [listener])

    async def _announce(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio_websocket.open_websocket_url(self._tracker) as websocket:
            hello = NodeHello(PROTOCOL_VERSION, self.node, self.name, "127.0.0.1", self._port)
            await websocket.send_message(encode(hello))
            await websocket.get_message()
            held = (
                Holding(digest, blob.layout.size, blob.layout.count, complete=True)
                for digest, blob in self._blobs.items()
            )
            await websocket.send_message(encode(Announce(tuple(held))))
            task_status.started()
            while True:
                await websocket.get_message()

    async def _serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed):
            async with stream:
                while head := await read_head(stream):
                    if EXCHANGE.encode() in head.split(b"\r\n", 1)[0]:
                        await self._exchange(Replayed(head, stream))
                        return
                    await self._answer(stream, head)

    async def _exchange(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            websocket = await request.accept()
            with suppress(trio_websocket.ConnectionClosed):
                hello = PeerHello(PROTOCOL_VERSION, self.node, self.name, self._port)
                await websocket.send_message(encode(hello))
                while True:
                    message = await websocket.get_message()
                    assert isinstance(message, bytes)
                    for reply in self._replies(_decode(message)):
                        await websocket.send_message(encode(reply))
            nursery.cancel_scope.cancel()

    def _replies(self, message: PeerMessage) -> list[PeerMessage]:
        match message:
            case Subscribe(digest=digest) if digest in self._blobs:
                blob = self._blobs[digest]
                return [
                    State(digest, blob.layout.size, complete=True),
                    Midstates(digest, 0, blob.states.states, blob.states.list_id()),
                ]
            case Subscribe(digest=digest):
                return [Absent(digest)]
            case FindReference(request=request):
                return [FoundReference(request)]
            case _:
                return []

    async def _answer(self, stream: trio.SocketStream, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        blob = self._blobs.get(path.removeprefix(BLOBS))
        if blob is None:
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        self.requests += 1
        start, _, end = headers["range"].removeprefix("bytes=").partition("-")
        body = bytearray(blob.data[int(start) : int(end) + 1])
        if self.lie is Lie.WRONG_BYTES:
            for at in range(0, len(body), blob.layout.chunk):
                body[at] ^= 1
        await stream.send_all(
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(body)}\r\n"
            f"Content-Range: bytes {start}-{int(start) + len(body) - 1}/{blob.layout.size}\r\n\r\n".encode()
        )
        if self.lie is Lie.STALL:
            await stream.receive_some(1)  # until the other side has had enough
        else:
            await stream.send_all(body)


class _Claimed:
    """A blob as the peer has it."""

    def __init__(self, digest: str, path: Path, lie: Lie) -> None:
        self.data = bytearray(path.read_bytes())
        self.layout = Layout(len(self.data))
        if lie is Lie.FALSE_LIST:
            self.data[self.layout.offset(self.layout.count // 2)] ^= 1
        self.states = _states(Digest.parse(digest), self.layout, self.data)


def _states(digest: Digest, layout: Layout, data: bytearray) -> StateList:
    hasher = LinkHasher.load()
    states = StateList(digest.algorithm)
    view = memoryview(data)
    for index in range(layout.count - 1):
        start = layout.offset(index)
        state = hasher.advance(
            digest.algorithm, states.state(index), start, view[start : start + layout.chunk]
        )
        states = states.joined(index, state)
    return states
