from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from p2p.registry.locks import Locks


async def test_one_at_a_time_for_each_key() -> None:
    locks: Locks[str] = Locks()
    inside: list[str] = []
    gate = trio.Event()

    async def hold(key: str, name: str) -> None:
        async with locks.holding(key):
            inside.append(name)
            await gate.wait()
            inside.remove(name)

    async with trio.open_nursery() as nursery:
        for key, name in (("a", "1"), ("a", "2"), ("b", "3")):
            nursery.start_soon(hold, key, name)
            await wait_all_tasks_blocked()
        assert inside == ["1", "3"]
        gate.set()
    assert inside == []
    assert len(locks) == 0


async def test_who_gives_up_waiting_leaves_nothing() -> None:
    locks: Locks[str] = Locks()
    async with locks.holding("a"):
        with trio.move_on_after(0) as scope:
            async with locks.holding("a"):
                raise AssertionError
        assert scope.cancelled_caught
        assert len(locks) == 1
    assert len(locks) == 0
