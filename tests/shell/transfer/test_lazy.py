"""Small ranges of large blobs: the origin gives them alone; what peers say is not believed for them."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from p2p.errors import OriginUnreachableError, RemoraError
from p2p.transfer.api import Wanted
from p2p.transfer.lazy import LEAST, MOST, REMEMBERED, SHARE, Asked, is_lazy
from tests.support.cluster import APP, Node, cluster, read_range
from tests.support.http_rig import until
from tests.support.liar import damaged
from tests.support.store_rig import MIB, Blob, blob

LONG = blob(40 * MIB + 5, seed=4)
WANTED = Wanted(APP, LONG.digest, size=LONG.size)
PIECES = [(7 * MIB + 3, 7 * MIB + 1003), (0, 1), (LONG.size - 51, LONG.size)]


def data_of(ranges: list[tuple[int, int]], content: Blob = LONG) -> list[bytes]:
    return [content.data[start:stop] for start, stop in ranges]


@pytest.mark.parametrize(
    ("ranges", "size", "lazy"),
    [
        ([(0, 1)], LEAST, True),
        ([(0, 1)], LEAST - 1, False),
        ([(5, 5 + MOST)], 1 << 40, True),
        ([(5, 6 + MOST)], 1 << 40, False),
        ([(0, MOST), (9, 10)], 1 << 40, False),
        ([], 1 << 40, False),
        ([(5, 5)], 1 << 40, False),
    ],
)
def test_what_is_lazy(ranges: list[tuple[int, int]], size: int, lazy: bool) -> None:
    assert is_lazy(ranges, size) is lazy


def test_an_eighth_is_a_reason_for_all() -> None:
    asked, size = Asked(), 800
    assert not asked.note(LONG.digest, [(0, 99)], size)
    assert asked.note(LONG.digest, [(700, 701)], size)
    for seed in range(REMEMBERED):
        asked.note(blob(40, seed=1000 + seed).digest, [(0, 1)], size)
    assert not asked.note(LONG.digest, [(0, 1)], size), "forgotten"


async def test_pieces_come_without_the_rest() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        node = await world.node()
        assert await node.engine.ranges(WANTED, PIECES) == data_of(PIECES)
        assert world.origin.egress == sum(stop - start for start, stop in PIECES)
        assert node.engine.swarms() == []
        statistics = node.engine.statistics()
        assert statistics.lazy == statistics.received_origin == world.origin.egress


async def test_much_of_it_asked_for_and_all_is_fetched_once() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        nodes = await world.start(2)
        step = MIB
        for node in nodes:
            for start in range(0, LONG.size // SHARE + step, step):
                found = await node.engine.ranges(WANTED, [(start, start + step)])
                assert found in (data_of([(start, start + step)]), None)
                if found is None:
                    async with node.open(LONG) as stream:
                        assert (
                            await read_range(stream, start, start + step) == LONG.data[start : start + step]
                        )
        for node in nodes:
            await until(lambda node=node: node.store.find(LONG.digest) is not None)
            assert node.kept(LONG) == LONG.data
        lazy = sum(node.engine.statistics().lazy for node in nodes)
        assert world.origin.egress == LONG.size + lazy


async def test_what_a_liar_says_of_a_piece_is_not_asked() -> None:
    """A full false list with a true end can't be told from the true one before all is here."""
    async with cluster() as world:
        world.origin.hold(LONG)
        liar = await world.liar(LONG, data=damaged(LONG, 7))
        node = await world.node()
        piece = [(7 * MIB, 7 * MIB + 100)]
        async with node.open(LONG), trio.open_nursery() as nursery:
            nursery.start_soon(_read_all, node)
            assert await node.engine.ranges(WANTED, piece) == data_of(piece)
            nursery.cancel_scope.cancel()
        assert not any(start == 7 * MIB and stop < 8 * MIB for start, stop in liar.asked)


async def _read_all(node: Node) -> None:
    with suppress(RemoraError):
        await node.read(LONG)


async def test_what_this_node_reads_itself_is_given_as_it_comes() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 20 * MIB
        node = await world.node()
        piece = (3 * MIB + 5, 3 * MIB + 500)
        async with node.open(LONG) as stream:
            with trio.fail_after(5):
                assert await read_range(stream, *piece) == LONG.data[slice(*piece)]
            assert await node.engine.ranges(WANTED, [piece]) is None, "the swarm gives it at once"
            world.origin.gate.set()


async def test_an_origin_that_fails_leaves_it_to_the_swarm() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        seeder, node = await world.start(2)
        await seeder.hold(LONG)
        world.origin.fail_at, world.origin.fail_with = 0, OriginUnreachableError("test", "lost")
        assert await node.engine.ranges(WANTED, PIECES) is None
        async with node.open(LONG) as stream:
            assert await read_range(stream, *PIECES[0]) == data_of(PIECES)[0]


async def test_what_is_stored_or_strict_or_small_is_left_to_readers() -> None:
    async with cluster() as world:
        small = blob(2 * MIB)
        world.origin.hold(small)
        node = await world.node()
        assert await node.engine.ranges(Wanted(APP, small.digest, size=small.size), [(0, 5)]) is None
        await node.hold(LONG)
        assert await node.engine.ranges(WANTED, PIECES) is None
    async with cluster() as world:
        world.origin.hold(LONG)
        node = await world.node()
        node.engine._parts.stream = False
        assert await node.engine.ranges(WANTED, PIECES) is None
        assert world.origin.egress == 0


async def test_few_are_read_at_once_and_one_who_leaves_makes_room() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 0
        node = await world.node()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(node.engine.ranges, WANTED, PIECES[:1])
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert world.origin.opened <= 8
            nursery.cancel_scope.cancel()
        world.origin.gate.set()
        assert await node.engine.ranges(WANTED, PIECES[:1]) == data_of(PIECES[:1])
