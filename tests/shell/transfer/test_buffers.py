from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.transfer.buffers import KEPT_SECONDS, SMALLEST, BufferPool

KIB = 1 << 10
MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, SMALLEST, SMALLEST + 1, MIB - 1, MIB])
async def test_a_buffer_is_as_long_as_asked_for(size: int) -> None:
    pool = BufferPool(4 * MIB)
    async with pool.take(size) as buffer:
        assert len(buffer) == size
        assert pool.lent >= max(size, SMALLEST)
        buffer[:] = bytes(size)
    assert pool.lent == 0


async def test_buffers_are_used_again() -> None:
    pool = BufferPool(4 * MIB)
    async with pool.take(MIB) as buffer:
        buffer[:5] = b"stays"
    async with pool.take(MIB - 7) as buffer:
        assert bytes(buffer[:5]) == b"stays"


async def test_one_waits_until_there_is_room() -> None:
    pool = BufferPool(2 * MIB)
    order: list[str] = []

    async def borrow(name: str, size: int, give_back: trio.Event) -> None:
        async with pool.take(size):
            order.append(name)
            assert pool.lent <= pool.budget
            await give_back.wait()

    events = [trio.Event() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for name, size, event in zip("abcd", (MIB, MIB // 2, 2 * MIB, KIB), events, strict=True):
            nursery.start_soon(borrow, name, size, event)
            await wait_all_tasks_blocked()
        # The big one came before the small one, that there would be room for.
        assert order == ["a", "b"]
        events[0].set()
        await wait_all_tasks_blocked()
        assert order == ["a", "b"]
        events[1].set()
        await wait_all_tasks_blocked()
        assert order == ["a", "b", "c"]
        events[2].set()
        events[3].set()
    assert order == ["a", "b", "c", "d"]
    assert pool.lent == 0


async def test_one_larger_than_the_budget_is_lent_alone() -> None:
    pool = BufferPool(MIB)
    async with pool.take(3 * MIB) as buffer:
        assert len(buffer) == 3 * MIB
        with trio.move_on_after(0) as scope:
            async with pool.take(1):
                pytest.fail("over the budget")
        assert scope.cancelled_caught
    assert pool.lent == 0
    assert pool.kept == 0  # nor is it kept


async def test_what_is_kept_counts_too() -> None:
    pool = BufferPool(MIB)
    async with pool.take(MIB // 2), pool.take(MIB // 2):
        pass
    assert pool.kept == MIB
    async with pool.take(MIB):
        assert (pool.lent, pool.kept) == (MIB, 0)


async def test_whoever_gives_up_waiting_takes_nothing() -> None:
    pool = BufferPool(MIB)
    async with pool.take(MIB):
        with trio.move_on_after(0):
            async with pool.take(1):
                pytest.fail("over the budget")
        assert pool.lent == MIB
    with trio.CancelScope() as scope:
        async with pool.take(1):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert pool.lent == 0


async def test_an_idle_pool_lets_go(autojump_clock: MockClock) -> None:
    pool = BufferPool(MIB)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        async with pool.take(1):
            await trio.sleep(3 * KEPT_SECONDS)
        assert pool.kept == SMALLEST
        await trio.sleep(2 * KEPT_SECONDS)
        assert pool.kept == 0
        async with pool.take(1):
            pass
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 5 * SMALLEST), st.integers(0, 5)), max_size=30))
def test_never_over_the_budget(loans: list[tuple[int, int]]) -> None:
    budget = 6 * SMALLEST

    async def main() -> None:
        pool = BufferPool(budget)

        async def borrow(size: int, steps: int) -> None:
            async with pool.take(size):
                for _ in range(steps):
                    assert pool.lent + pool.kept <= max(budget, 8 * SMALLEST)
                    assert pool.lent <= budget or pool.lent == 8 * SMALLEST
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for size, steps in loans:
                nursery.start_soon(borrow, size, steps)
        assert pool.lent == 0
        assert pool.kept == sum(size * len(free) for size, free in pool._free.items()) <= budget

    trio.run(main)


async def test_an_image_of_many_layers_leaves_room_for_one_of_a_single_layer() -> None:
    pool = BufferPool(2 * MIB)
    order: list[str] = []
    back = trio.Event()

    async def borrow(name: str) -> None:
        async with pool.take(MIB, name):
            order.append(name)
            await back.wait()

    async with trio.open_nursery() as nursery:
        for name in ["many"] * 8 + ["one"] * 2:
            nursery.start_soon(borrow, name)
            await wait_all_tasks_blocked()
        assert order == ["many", "many"]
        assert not pool.free(KIB), "a small one would overtake those that wait"
        back.set()
    assert order.index("one") <= 3
    assert sorted(order) == ["many"] * 8 + ["one"] * 2
    assert pool.lent == 0


async def test_who_gives_up_lets_the_next_one_in() -> None:
    pool = BufferPool(2 * MIB)
    async with trio.open_nursery() as nursery, pool.take(MIB):
        gives_up = trio.CancelScope()

        async def large() -> None:
            with gives_up:
                async with pool.take(2 * MIB):
                    raise AssertionError("there is no room for it")

        nursery.start_soon(large)
        await wait_all_tasks_blocked()
        got = trio.Event()

        async def small() -> None:
            async with pool.take(MIB):
                got.set()

        nursery.start_soon(small)
        await wait_all_tasks_blocked()
        assert not got.is_set()
        gives_up.cancel()
        await got.wait()
