"""Twenty nodes resolve one tag at once: their own resolvers and clients, real trackers, one origin."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio

from p2p.config import TagSettings
from p2p.discovery.composite import Routes
from p2p.discovery.static import StaticPeers
from p2p.discovery.tracker_client import Identity
from p2p.discovery.trackers import Trackers
from p2p.metadata.memory import MemoryMetadata
from p2p.registry.tags import TagResolver
from tests.support.registry_rig import APP, MemoryOrigin, MemoryOrigins
from tracker.server import run
from tracker.settings import TrackerSettings

NODES = 20


class SlowOrigin(MemoryOrigin):
    """A HEAD takes as long as one does."""

    async def head(self, path, reference):
        found = await super().head(path, reference)
        await trio.sleep(0.05)
        return found


@asynccontextmanager
async def nodes(trackers, settings):
    origin = SlowOrigin("test")
    async with trio.open_nursery() as nursery:
        servers = [await nursery.start(run, TrackerSettings(listen="127.0.0.1:0")) for _ in range(trackers)]
        urls = [f"ws://{server.addresses[0]}" for server in servers]
        resolvers = []
        for number in range(NODES):
            identity = Identity(f"{number:032x}", f"n{number}", "", 5001)
            rng = random.Random(number)
            control = Trackers(urls, identity, rng=rng) if urls else None
            routes = Routes(identity.node, static=StaticPeers(), tracker=control, rng=rng)
            await nursery.start(routes.run)
            if control is not None:
                with trio.fail_after(20):
                    while not all(control.ways().values()):
                        await trio.testing.wait_all_tasks_blocked(0.01)
            resolvers.append(
                TagResolver(
                    metadata=MemoryMetadata(),
                    origins=MemoryOrigins(origin),
                    references=routes,
                    settings=settings,
                    now=lambda: datetime.now(UTC),
                )
            )
        yield origin, resolvers
        nursery.cancel_scope.cancel()


async def resolve_all(resolvers):
    found = []

    async def resolve(resolver):
        found.append((await resolver.resolve(APP, "1")).target.digest)

    async with trio.open_nursery() as nursery:
        for resolver in resolvers:
            nursery.start_soon(resolve, resolver)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("trackers", [1, 3])
async def test_one_head_for_the_whole_cluster_within_max_age(trackers):
    async with nodes(trackers, TagSettings(max_age=60.0)) as (origin, resolvers):
        digest = origin.put_image("app", "1")
        assert await resolve_all(resolvers) == [digest] * NODES
        assert origin.calls["head"] == 1
        origin.put_image("app", "1", [b"moved"])
        assert await resolve_all(resolvers) == [digest] * NODES
        assert origin.calls["head"] == 1


@pytest.mark.slow
async def test_asking_each_time_shares_what_was_asked_for_after_the_question():
    async with nodes(1, TagSettings(max_age=0.0)) as (origin, resolvers):
        origin.put_image("app", "1")
        await resolve_all(resolvers)
        assert 1 <= origin.calls["head"] <= 2, (
            "one for the first, one for all who came while it was under way"
        )
        before = origin.calls["head"]
        moved = origin.put_image("app", "1", [b"moved"])
        assert await resolve_all(resolvers) == [moved] * NODES, "never what was true before the question"
        assert 1 <= origin.calls["head"] - before <= 2


@pytest.mark.slow
async def test_without_a_tracker_each_asks_itself():
    async with nodes(0, TagSettings(max_age=60.0)) as (origin, resolvers):
        digest = origin.put_image("app", "1")
        assert await resolve_all(resolvers) == [digest] * NODES
        assert origin.calls["head"] == NODES


@pytest.mark.slow
async def test_an_owner_who_asks_nobody_is_told_by_nobody():
    async with nodes(1, TagSettings(max_age=60.0, from_peers=False)) as (origin, resolvers):
        digest = origin.put_image("app", "1")
        assert await resolve_all(resolvers) == [digest] * NODES
        assert origin.calls["head"] == NODES
