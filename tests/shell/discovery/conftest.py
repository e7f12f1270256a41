from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.core.oci.digest import Digest
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
