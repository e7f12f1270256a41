"""A registry that is a dictionary, and a tracker that follows a script."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio_websocket

from p2p.core.wire import codec
from tests.support.dict_registry import Open, Registry, opened


@pytest.fixture
def open_server() -> Open:
    """Give an async context manager that serves a handler and yields its base URL."""
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
