from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
import trio.testing

from p2p.net.roster import EVICT_AFTER, Roster


@dataclass(eq=False)
class Member:
    roster: Roster
    dismissed: int = 0

    def __post_init__(self) -> None:
        self.roster.enter(self)

    def dismiss(self) -> None:
        self.dismissed += 1
        self.roster.leave(self)


async def test_room_below_the_limit() -> None:
    roster = Roster(2)
    Member(roster)
    await roster.room()


async def test_the_one_that_waits_longest_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    roster = Roster(2)
    first, second = Member(roster), Member(roster)
    roster.wait(first)
    roster.wait(second)
    roster.busy(first)
    roster.wait(first)  # so the second has waited longer now
    start = trio.current_time()
    await roster.room()
    assert trio.current_time() - start == pytest.approx(EVICT_AFTER)
    assert (first.dismissed, second.dismissed) == (0, 1)
    statistics = roster.statistics()
    assert (statistics.connections, statistics.waiting, statistics.evicted) == (1, 1, 1)
    assert (statistics.accepted, statistics.requests) == (2, 1)


async def test_busy_ones_are_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    roster = Roster(1)
    member = Member(roster)
    roster.wait(member)
    roster.busy(member)
    done = [trio.Event(), trio.Event()]

    async def room(event: trio.Event) -> None:
        await roster.room()
        event.set()

    async with trio.open_nursery() as nursery:
        for event in done:
            nursery.start_soon(room, event)
        await trio.sleep(100)
        assert not any(event.is_set() for event in done)
        roster.leave(member)
        for event in done:
            await event.wait()
    assert member.dismissed == 0


async def test_a_stop_dismisses_all_but_the_busy() -> None:
    roster = Roster(10)
    waiting, busy, given, late = (Member(roster) for _ in range(4))
    roster.wait(waiting)
    roster.busy(busy)
    roster.give(given)
    roster.stop()
    assert [member.dismissed for member in (waiting, busy, given)] == [1, 0, 1]
    roster.wait(busy)
    assert busy.dismissed == 1
    roster.give(late)
    assert late.dismissed == 1
