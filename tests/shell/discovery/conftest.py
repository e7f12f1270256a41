from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.core.wire.codec import FROM_TRACKER, encode
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import ClientHello, PrefetchAsk
from p2p.discovery.channel import open_channel, parse_url
from p2p.discovery.tracker_client import Identity, TrackerClient
from tracker.server import run
from tracker.settings import TrackerSettings


def node_id(name: str) -> str:
    return name.encode().hex().ljust(32, "0")


class Changes:
    """Takes ``on_change``, and can be waited on."""

    def __init__(self) -> None:
        self.all: list[bool] = []
        self._changed = trio.Event()

    def __call__(self, up: bool) -> None:
        self.all.append(up)
        self._changed.set()
        self._changed = trio.Event()

    async def reach(self, count: int) -> None:
        with trio.fail_after(60):
            while len(self.all) < count:
                await self._changed.wait()

    async def be(self, up: bool) -> None:
        with trio.fail_after(8):
            while not (self.all and self.all[-1] is up):
                await self._changed.wait()


class News:
    """A sink that can be waited on."""

    def __init__(self) -> None:
        self.all: list = []
        self._changed = trio.Event()

    def __call__(self, news: object) -> None:
        self.all.append(news)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition):
        with trio.fail_after(8):
            while not any(condition(one) for one in self.all):
                await self._changed.wait()
        return next(one for one in self.all if condition(one))


@asynccontextmanager
async def open_tracker(listen: str = "127.0.0.1:0"):
    """A tracker in this process, on a real socket; gives its address. Leaving cuts it off."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run, TrackerSettings(listen=listen))
        yield server.addresses[0]
        nursery.cancel_scope.cancel()


def make_client(address: str, name: str, **options) -> TrackerClient:
    identity = Identity(node_id(name), name, "", 5001)
    return TrackerClient(f"ws://{address}", identity, rng=random.Random(name), on_change=Changes(), **options)


class Plane:
    """Trackers in this process; a call starts a client of all of them, and waits until it is connected."""

    def __init__(self, nursery, addresses, scopes, make) -> None:
        self._nursery = nursery
        self._scopes = scopes
        self._make = make
        self.addresses = addresses
        self.commands = [self._command(address) for address in addresses]

    async def __call__(self, name, **options):
        identity = Identity(node_id(name), name, "", 5001)
        client = self._make([f"ws://{one}" for one in self.addresses], identity, name, options)
        await self._nursery.start(client.run)
        with trio.fail_after(8):
            while not all(getattr(client, "ways", lambda: {"": client.available})().values()):
                await trio.testing.wait_all_tasks_blocked(0.01)
        return client

    async def cut(self, *places):
        """End trackers; all of them without ``places``."""
        for place in places or range(len(self._scopes)):
            self._scopes[place].cancel()
        await trio.lowlevel.checkpoint()

    def _command(self, address):
        @asynccontextmanager
        async def ask(images):
            async with open_channel(parse_url(f"ws://{address}")) as socket:
                await socket.send_message(encode(ClientHello(PROTOCOL_VERSION)))
                await socket.get_message()
                await socket.send_message(encode(PrefetchAsk(images)))

                async def reports():
                    return FROM_TRACKER.decode(await socket.get_message())

                yield reports

        return ask


def plane_of(count, make):
    """Give an async context manager that starts ``count`` trackers; leaving it ends all."""

    @asynccontextmanager
    async def opened():
        async with trio.open_nursery() as nursery:
            addresses, scopes = [], []

            async def serve(scope, *, task_status):
                with scope:
                    await run(TrackerSettings(listen="127.0.0.1:0"), task_status=task_status)

            for _ in range(count):
                scope = trio.CancelScope()
                server = await nursery.start(serve, scope)
                addresses.append(server.addresses[0])
                scopes.append(scope)
            yield Plane(nursery, addresses, scopes, make)
            nursery.cancel_scope.cancel()

    return opened


@pytest.fixture
def planes():
    return plane_of


@pytest.fixture
def news():
    return News


@pytest.fixture
def tracker():
    return open_tracker


@pytest.fixture
def client():
    return make_client


@pytest.fixture
def digest():
    return Digest.of(b"blob")
