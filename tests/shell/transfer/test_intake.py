"""The origin's stream into the store: in batches, along lists that peers extend, and when it breaks off."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from p2p.core.swarm.chunks import MAX_BLOB
from p2p.errors import (
    OriginDeniedError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
)
from p2p.store.memory import MemoryStore
from p2p.transfer.intake import _take_in_order, origin_failed
from tests.support.cluster import cluster, read_range
from tests.support.http_rig import until
from tests.support.liar import damaged
from tests.support.store_rig import HASHER, MIB, Blob, blob

LONG = blob(9 * MIB + 5)


async def partial_of(content: Blob) -> tuple[MemoryStore, Any]:
    store = MemoryStore(hasher=HASHER)
    await store.recover()
    return store, await store.open_partial(content.digest, content.size)


@pytest.mark.parametrize("known", range(10))
@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 4), (3, 4), (6, 4), (0, 10)])
async def test_bytes_in_order_along_any_list(known: int, first: int, count: int) -> None:
    """What is known is checked, what is not is made."""
    store, partial = await partial_of(LONG)
    partial.adopt(LONG.midstates.prefix(max(known, first)))
    assert await _take_in_order(partial, first, LONG.chunks(first, count))
    assert list(partial.have) == list(range(first, first + count))
    assert partial.midstates == LONG.midstates.prefix(max(known, first, min(first + count, 9)))
    await partial.close()
    store.close()


@pytest.mark.parametrize(("known", "wrong"), [(9, 0), (9, 9), (2, 1), (4, 9)])
async def test_bytes_that_contradict_the_list_or_the_digest(known: int, wrong: int) -> None:
    store, partial = await partial_of(LONG)
    partial.adopt(LONG.midstates.prefix(known))
    assert not await _take_in_order(partial, 0, memoryview(damaged(LONG, wrong)))
    assert wrong not in partial.have
    await partial.close()
    store.close()


async def test_a_list_that_grows_between_two_hops() -> None:
    store, partial = await partial_of(LONG)
    partial.adopt(LONG.midstates.prefix(2))
    async with trio.open_nursery() as nursery:

        async def grow() -> None:
            for length in range(3, 10):
                await trio.lowlevel.checkpoint()
                partial.adopt(LONG.midstates.prefix(length))

        nursery.start_soon(grow)
        assert await _take_in_order(partial, 0, memoryview(LONG.data))
    assert partial.have.complete
    await partial.close()
    store.close()


async def test_an_empty_blob_is_taken_too() -> None:
    empty = blob(0)
    store, partial = await partial_of(empty)
    assert await _take_in_order(partial, 0, memoryview(b""))
    await partial.commit()
    await partial.close()
    store.close()


def test_what_it_is_of_no_use_to_repeat() -> None:
    final = [
        OriginNotFoundError("x", "y"),
        OriginDeniedError("x", "y"),
        OriginProtocolError("x", "y"),
    ]
    others = [OriginUnreachableError("x", "y"), OriginStatusError("x", "y", status=503)]
    assert all(origin_failed(error).final for error in final)
    assert not any(origin_failed(error).final for error in others)
    limited = origin_failed(OriginLimitedError("x", "y", retry_after=7.0))
    assert (limited.final, limited.retry_after) == (False, 7.0)


@pytest.mark.slow
async def test_a_slow_origins_chunks_are_read_as_they_come() -> None:
    """A batch is not waited for: each chunk goes on when the next takes its time."""
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.part = MIB
        node = await world.node()
        taken = bytearray()
        async with node.open(LONG) as stream, trio.open_nursery() as nursery:
            world.origin.gate_at = MIB
            nursery.start_soon(lambda: read_range(stream, 0, LONG.size, seen=taken.extend))
            for count in range(1, 9):
                await until(lambda count=count: len(taken) >= count * MIB)  # type: ignore[misc]
                with trio.move_on_after(0.03):
                    await trio.sleep_forever()  # as slow as the origin is
                gate, world.origin.gate = world.origin.gate, trio.Event()
                world.origin.gate_at = (count + 1) * MIB
                gate.set()
            world.origin.gate.set()
        assert bytes(taken) == LONG.data


@pytest.mark.slow
async def test_chunks_that_came_before_a_break_are_kept() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.truncate = 3 * MIB + 77
        node = await world.node()
        assert await node.read(LONG) == LONG.data
        assert world.origin.offsets == [0, 3 * MIB, 6 * MIB]


@pytest.mark.slow
async def test_a_stream_that_is_closed_gives_its_buffers_back() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        node = await world.node(grace=0, memory=8 * MIB)
        for _ in range(6):
            async with node.open(LONG) as stream:
                await read_range(stream, 0, 1)
            await node.settled()
            assert node.buffers.lent == 0
        assert await node.read(LONG) == LONG.data


async def test_an_absurd_size_is_refused() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.sizes[LONG.digest] = MAX_BLOB + 1
        node = await world.node()
        with pytest.raises(OriginProtocolError, match="states"):
            await node.read(LONG, size=0)
