"""Ranges far ahead of the origin's stream: their first bytes come at once, and cost next to nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from p2p.errors import RemoraError
from p2p.transfer.peek import FAR, MOST, SHARE
from tests.support.cluster import ScriptedOrigin, cluster, read_range
from tests.support.http_rig import until
from tests.support.store_rig import MIB, blob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG = blob(40 * MIB + 5, seed=4)


def gated(origin: ScriptedOrigin, at: int) -> None:
    """Have the streams wait at a byte; single ranges don't."""
    origin.gate_at = at
    opened = origin.open

    @asynccontextmanager
    async def open_range(*args: Any, stop: int | None = None, **more: Any) -> AsyncIterator[Any]:
        async with opened(*args, stop=stop, **more) as body:
            if stop is not None:
                body._origin = ScriptedOrigin()
            yield body

    origin.open = open_range  # type: ignore[method-assign]


async def test_each_of_many_far_ranges_gets_its_first_bytes_at_once() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        gated(world.origin, 2 * MIB)
        node = await world.node()
        taken = [bytearray() for _ in range(3)]
        starts = [2 * MIB + FAR + at for at in (0, MIB + 3, 20 * MIB)]
        async with node.open(LONG) as first, node.open(LONG) as second, node.open(LONG) as third:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_range, first, 0, 1)
                await until(lambda: node.engine.statistics().chunks_verified >= 1)
                for stream, start, seen in zip((first, second, third), starts, taken, strict=True):
                    nursery.start_soon(
                        lambda one=stream, at=start, to=seen: read_range(one, at, LONG.size, seen=to.extend)
                    )
                await until(lambda: all(len(seen) == MOST for seen in taken))
                await trio.testing.wait_all_tasks_blocked()
                world.origin.gate.set()
            assert [bytes(seen) for seen in taken] == [LONG.data[start:] for start in starts]
        assert world.origin.egress == LONG.size + 3 * MOST
        assert node.engine.statistics().lazy == 3 * MOST


async def test_what_is_looked_at_and_then_sent_is_read_once() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        gated(world.origin, MIB)
        node = await world.node()
        start = 30 * MIB
        for _ in range(3):
            async with node.open(LONG) as stream, trio.open_nursery() as nursery:
                taken = bytearray()
                nursery.start_soon(lambda to=taken: read_range(stream, start, LONG.size, seen=to.extend))
                await until(lambda to=taken: len(to) == MOST)
                nursery.cancel_scope.cancel()
        assert node.engine.statistics().lazy == MOST


async def test_no_more_than_a_share_is_read_so() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        gated(world.origin, MIB)
        node = await world.node()
        async with node.open(LONG) as stream:
            await read_range(stream, 0, 1)
            runner = node.engine._runners[LONG.digest]
            step, found = MIB // 2, 0
            for start in range(12 * MIB, 40 * MIB, step):
                found += len(await runner.peeks.read(start, LONG.size))
            assert 0 < found * SHARE <= LONG.size
            assert await runner.peeks.read(2 * MIB, LONG.size) == b"", "the stream is there soon"
            world.origin.gate.set()


async def test_followers_leave_the_origin_alone() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        gated(world.origin, 2 * MIB)
        first, second = await world.start(2)
        async with first.open(LONG) as stream, second.open(LONG) as other:
            await read_range(stream, 0, 1)
            runner = second.engine._runners[LONG.digest]
            await until(lambda: runner.swarm.lists.adopted.length > 0)
            assert await runner.peeks.read(30 * MIB, LONG.size) == b""
            world.origin.gate.set()
            await read_range(other, 0, LONG.size)


async def test_other_bytes_than_the_blobs_end_in_no_whole_answer() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        gated(world.origin, 2 * MIB)
        node = await world.node()
        start, taken = 30 * MIB, bytearray()
        async with node.open(LONG) as stream:
            await read_range(stream, 0, 1)
            true = world.origin.at("app").blobs[LONG.digest]
            wrong = bytearray(true)
            wrong[start] ^= 1
            world.origin.hold(LONG, bytes(wrong))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_let_go, world.origin, taken)
                with pytest.raises(RemoraError, match="other bytes"):
                    await read_range(stream, start, LONG.size, seen=taken.extend)
        assert len(taken) < LONG.size - start


async def _let_go(origin: ScriptedOrigin, taken: bytearray) -> None:
    await until(lambda: len(taken) == MOST)
    origin.gate.set()
