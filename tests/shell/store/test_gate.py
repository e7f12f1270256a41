from __future__ import annotations

import pytest
import trio
import trio.testing

from p2p.store.gate import Gate


async def test_sharers_run_side_by_side_and_one_alone() -> None:
    gate = Gate()
    inside = 0
    most = 0

    async def share() -> None:
        nonlocal inside, most
        async with gate.shared():
            inside += 1
            most = max(most, inside)
            await trio.testing.wait_all_tasks_blocked()
            inside -= 1

    async def alone() -> None:
        nonlocal inside
        async with gate.alone():
            assert inside == 0
            inside += 100
            await trio.testing.wait_all_tasks_blocked(0.001)
            inside -= 100

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(share)
            nursery.start_soon(alone)
    assert inside == 0
    assert 1 <= most <= 3


async def test_who_waits_to_be_alone_goes_before_new_sharers() -> None:
    gate = Gate()
    order = []

    async def alone() -> None:
        async with gate.alone():
            order.append("alone")

    async def share() -> None:
        async with gate.shared():
            order.append("shared")

    async with trio.open_nursery() as nursery, gate.shared():
        nursery.start_soon(alone)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(share)
        await trio.testing.wait_all_tasks_blocked()
        assert order == []
    assert order == ["alone", "shared"]


async def test_a_cancelled_wait_lets_the_others_on() -> None:
    gate = Gate()
    passed = trio.Event()

    async def share() -> None:
        async with gate.shared():
            passed.set()

    async with trio.open_nursery() as nursery, gate.shared():
        with trio.CancelScope() as scope:
            scope.cancel()
            async with gate.alone():
                pytest.fail("somebody shares it")
        nursery.start_soon(share)
        await passed.wait()


async def test_an_error_inside_opens_it_again() -> None:
    gate = Gate()
    for enter in (gate.alone, gate.shared):
        with pytest.raises(KeyError):
            async with enter():
                raise KeyError
    async with gate.alone():
        pass
