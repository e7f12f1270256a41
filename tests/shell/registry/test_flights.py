from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.errors import OriginUnreachableError
from p2p.registry.flights import Flights
from tests.support.registry_rig import at_once


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.gate = trio.Event()
        self.error = error

    async def __call__(self) -> int:
        self.begun += 1
        mine = self.begun
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return mine


async def test_all_who_ask_meanwhile_share_one_answer() -> None:
    flights: Flights[int] = Flights()
    work = Work()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_open, work.gate)
        assert await at_once(10, lambda: flights.ask("key", work)) == [1] * 10


async def wait_and_open(gate: trio.Event) -> None:
    await wait_all_tasks_blocked()
    gate.set()


async def test_nothing_is_kept_and_keys_are_apart() -> None:
    flights: Flights[int] = Flights()
    work = Work()
    work.gate.set()
    assert [await flights.ask("key", work) for _ in range(3)] == [1, 2, 3]
    assert sorted(await at_once(2, lambda: flights.ask(object(), work))) == [4, 5]


async def test_an_error_is_shared_and_not_kept() -> None:
    flights: Flights[int] = Flights()
    work = Work(OriginUnreachableError("test", "no connection"))
    caught: list[Exception] = []

    async def ask() -> None:
        try:
            await flights.ask("key", work)
        except OriginUnreachableError as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        work.gate.set()
    assert len(caught) == 5
    assert work.begun == 1
    with pytest.raises(OriginUnreachableError):
        await flights.ask("key", work)
    assert work.begun == 2


async def test_when_the_first_leaves_another_goes_on() -> None:
    flights: Flights[int] = Flights()
    work = Work()
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await flights.ask("key", work))

    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def leave() -> None:
            with first:
                await ask()

        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        assert work.begun == 2
        work.gate.set()
    assert answers == [2, 2, 2]
