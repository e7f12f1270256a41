from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket

from p2p.core.wire.codec import FROM_TRACKER, encode
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import ClientHello, NodeHello
from tracker.core import Tracker
from tracker.hub import Hub


def node_id(name: str) -> str:
    return name.encode().hex().ljust(32, "0")


class Speaker:
    """One raw connection to a tracker."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.socket = socket

    async def say(self, message: object) -> None:
        await self.socket.send_message(encode(message))

    async def hear(self, kind: type):
        with trio.fail_after(8):
            while not isinstance(message := FROM_TRACKER.decode(await self.socket.get_message()), kind):
                pass
        return message

    async def hello(self, name: str | None = None) -> Speaker:
        await self.say(
            NodeHello(PROTOCOL_VERSION, node_id(name), name, "", 5001)
            if name
            else ClientHello(PROTOCOL_VERSION)
        )
        return self

    async def closed(self) -> str:
        with trio.fail_after(8):
            try:
                while True:
                    await self.socket.get_message()
            except trio_websocket.ConnectionClosed as error:
                return error.reason.reason or ""


@asynccontextmanager
async def open_speaker(address: str):
    host, _, port = address.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    try:
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(nursery, stream, address, "/ws")
            yield Speaker(socket)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_hub(**options):
    """A hub behind a plain listener; gives it and its address."""
    hub = Hub(Tracker(trio.current_time() - 100), **options)

    async def accept(stream: trio.SocketStream) -> None:
        try:
            await hub.serve(stream, "127.0.0.1")
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, accept, listeners)
        yield hub, f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.fixture
def speaker():
    return open_speaker


@pytest.fixture
def hub():
    return open_hub
