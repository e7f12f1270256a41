"""Readers: of a complete blob, behind a swarm, and past a full disk."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from p2p.core.wire.peer import Midstates, State, Subscribe
from p2p.errors import OriginProtocolError, OriginUnreachableError, VerificationError
from p2p.net.message import FileSpan
from p2p.transfer.streams import SPAN, PassingStream, StoredStream, SwarmStream
from tests.support.cluster import cluster, open_files, read_range, read_start
from tests.support.http_rig import until
from tests.support.liar import damaged
from tests.support.store_rig import MIB, Blob, blob

CONTENT = blob(3 * MIB + 77)
RANGES = [
    (0, 0),
    (0, 1),
    (5, 5),
    (MIB - 1, MIB + 1),
    (3 * MIB, CONTENT.size),
    (0, CONTENT.size),
    (7, 2 * MIB),
]


@pytest.mark.parametrize("capacity", [1 << 40, MIB], ids=["disk", "full disk"])
async def test_ranges_one_after_another(capacity: int) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node(capacity=capacity)
        async with node.open(CONTENT) as stream:
            assert isinstance(stream, SwarmStream if capacity > MIB else PassingStream)
            assert (stream.digest, stream.size) == (CONTENT.digest, CONTENT.size)
            for start, stop in RANGES:
                assert await read_range(stream, start, stop) == CONTENT.data[start:stop]
        await node.settled()
        if capacity > MIB:
            async with node.open(CONTENT) as stream:
                assert isinstance(stream, StoredStream)
                for start, stop in RANGES:
                    assert await read_range(stream, start, stop) == CONTENT.data[start:stop]


@pytest.mark.slow
async def test_a_long_blob_comes_in_bounded_spans() -> None:
    content = blob(SPAN + 5 * MIB)
    async with cluster() as world:
        seeder, node = await world.start(2)
        await seeder.hold(content)
        async with node.open(content) as stream:
            runner = node.engine._runners[content.digest]
            await until(lambda: runner.proven)
            lengths = [span.length async for span in stream.spans(0, stream.size)]  # type: ignore[union-attr]
        assert lengths == [SPAN, 5 * MIB]


async def test_a_reader_that_begins_when_the_swarm_has_ended_reads_its_own_file() -> None:
    """The swarm's descriptor is closed by then, and its number may be another file's."""
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node()
        async with node.open(CONTENT) as stream:
            await node.settled()
            other = await node.store.open_partial(blob(MIB, seed=7).digest, MIB)
            await node.store.remove(CONTENT.digest)
            assert await read_range(stream, 0, CONTENT.size) == CONTENT.data
            await other.close()


async def test_a_reader_that_leaves_closes_its_file() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = MIB
        node = await world.node(grace=0)
        before = open_files()
        for _ in range(3):
            async with node.open(CONTENT) as stream:
                spans = stream.spans(0, CONTENT.size)
                assert isinstance(await anext(spans), FileSpan)
                await spans.aclose()  # type: ignore[attr-defined]
            await node.settled()
        # The partial blob and its journal are the memory store's own.
        assert len([name for name in open_files() - before if "memfd" in name]) <= 2


# ── past a full disk ───────────────────────────────────────────────────────────────────────────────


async def passing(world: Any, data: bytes | None = None) -> Any:
    world.origin.hold(CONTENT, data)
    return await world.node(capacity=MIB)


@pytest.mark.parametrize("wrong", [0, 2, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, CONTENT.size), (0, 2 * MIB), (MIB + 5, MIB + 9), (0, 1)])
async def test_wrong_bytes_are_cut_before_the_last_chunk_of_what_is_asked_for(
    wrong: int, start: int, stop: int
) -> None:
    taken = bytearray()
    async with cluster() as world:
        node = await passing(world, damaged(CONTENT, wrong))
        async with node.open(CONTENT) as stream:
            with pytest.raises(OriginProtocolError, match="digest"):
                await read_range(stream, start, stop, seen=taken.extend)
        assert len(taken) <= (stop - 1) // MIB * MIB - start or not taken
        assert start + len(taken) < stop


@pytest.mark.parametrize(
    "data", [CONTENT.data[:-1], CONTENT.data + b"x", b""], ids=["short", "long", "empty"]
)
async def test_other_lengths_are_cut_too(data: bytes) -> None:
    taken = bytearray()
    async with cluster() as world:
        node = await passing(world, data)
        async with node.open(CONTENT) as stream:
            with pytest.raises(OriginProtocolError):
                await read_range(stream, 0, CONTENT.size, seen=taken.extend)
        assert len(taken) < CONTENT.size


async def test_an_origin_that_breaks_off_is_told() -> None:
    async with cluster() as world:
        node = await passing(world)
        world.origin.fail_at, world.origin.fail_with = 2 * MIB, OriginUnreachableError("test", "lost")
        async with node.open(CONTENT) as stream:
            with pytest.raises(OriginUnreachableError, match="lost"):
                await read_range(stream, 0, CONTENT.size)


async def test_a_reader_past_the_disk_that_leaves_ends_its_pass() -> None:
    async with cluster() as world:
        node = await passing(world)
        world.origin.gate_at = 2 * MIB
        with trio.move_on_after(5) as scope:
            async with node.open(CONTENT) as stream:
                spans = stream.spans(0, CONTENT.size)
                await anext(spans)
                await spans.aclose()  # type: ignore[attr-defined]
        assert not scope.cancelled_caught
        await node.settled()
        assert node.engine.statistics().readers == 0


# ── behind a swarm whose list falls ────────────────────────────────────────────────────────────────


async def test_only_what_was_given_is_held_against_a_new_list() -> None:
    """A list may fall; who took nothing that it vouched for reads on."""
    evil = damaged(CONTENT, 2)
    false = Blob(evil).midstates
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = MIB
        node = await world.node()
        async with node.open(CONTENT) as before, node.open(CONTENT) as behind:
            runner = node.engine._runners[CONTENT.digest]
            assert await read_start(before, MIB) == CONTENT.data[:MIB]
            assert runner.partial is not None
            runner.partial.adopt(false)
            assert await read_start(behind, MIB) == CONTENT.data[:MIB]
            behind._given[0] = type(behind._given[0])(0, 3, false)
            behind._checked = false
            await runner.partial.relink(CONTENT.midstates.prefix(1))
            world.origin.gate.set()
            assert await read_range(before, MIB, CONTENT.size) == CONTENT.data[MIB:]
            with pytest.raises(VerificationError, match="let wrong bytes through"):
                await read_range(behind, 3 * MIB, CONTENT.size)


@pytest.mark.parametrize(("start", "stop"), [(MIB, MIB + 10), (MIB + 1, 2 * MIB), (5, MIB + 5)])
async def test_a_range_is_never_whole_and_wrong_under_a_growing_false_list(start: int, stop: int) -> None:
    """Nobody can prove a list that still grows: what ends before the blob waits for the proof too."""
    false = Blob(damaged(CONTENT, 1)).midstates.prefix(2)

    def grows(message: Subscribe) -> list[Any]:
        return [
            State(message.digest, CONTENT.size, complete=False, have=b"\x03"),
            Midstates(message.digest, 0, false.states, false.list_id()),
        ]

    async with cluster() as world:
        world.board.leases = False
        world.origin.hold(CONTENT)
        liar = await world.liar(CONTENT, data=damaged(CONTENT, 1), messages=grows, complete=False)
        node = await world.node()
        taken = bytearray()
        async with node.open(CONTENT) as stream, trio.open_nursery() as nursery:

            async def read() -> None:
                with suppress(VerificationError):
                    await read_range(stream, start, stop, seen=taken.extend)

            nursery.start_soon(read)
            await until(lambda: taken or any(first <= MIB < end for first, end in liar.asked))
            world.board.leases = True
        assert len(taken) < stop - start or taken == CONTENT.data[start:stop]
