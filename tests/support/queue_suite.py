"""What every implementation of ``Queue`` must do; subclass it with ``clock`` and ``queue`` fixtures.

The queue keeps 5 events for an hour.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from tests.support.happenings import Clock, happening

if TYPE_CHECKING:
    from p2p.notifications.api import Queue

KEPT = 5
AGE = timedelta(hours=1)


class QueueSuite:
    async def test_events_are_numbered_in_order(self, queue: Queue) -> None:
        assert queue.last == 0
        await queue.append([happening(content=b"1"), happening(content=b"2")])
        await queue.append([happening(content=b"3")])
        events = await queue.read(0, 10)
        assert [event.number for event in events] == [1, 2, 3]
        assert [event.happening for event in events] == [happening(content=c) for c in (b"1", b"2", b"3")]
        assert queue.last == 3
        assert len({event.id for event in events}) == 3
        assert await queue.read(0, 10) == events
        assert [event.number for event in await queue.read(1, 1)] == [2]

    async def test_nothing_to_note(self, queue: Queue) -> None:
        await queue.append([])
        assert queue.last == 0
        assert list(await queue.read(0, 10)) == []

    async def test_the_oldest_go_where_there_are_too_many(self, queue: Queue) -> None:
        for _ in range(4):
            await queue.append([happening(), happening()])
        assert [event.number for event in await queue.read(0, 10)] == [4, 5, 6, 7, 8]

    async def test_the_old_go(self, queue: Queue, clock: Clock) -> None:
        await queue.append([happening()])
        clock.now += AGE / 2
        await queue.append([happening()])
        clock.now += AGE / 2 + timedelta(seconds=1)
        assert [event.number for event in await queue.read(0, 10)] == [2]
        clock.now += AGE
        assert list(await queue.read(0, 10)) == []
        await queue.append([happening()])
        assert [event.number for event in await queue.read(0, 10)] == [3]

    async def test_a_new_consumer_starts_behind_the_last(self, queue: Queue) -> None:
        await queue.append([happening()])
        assert await queue.begin("a") == (1, True)
        await queue.append([happening(), happening()])
        assert await queue.begin("a") == (1, False)
        await queue.confirm("a", 2)
        assert await queue.begin("a") == (2, False)
        assert await queue.begin("b") == (3, True)

    async def test_waiting_ends_with_the_next_event(self, queue: Queue) -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(queue.wait, 0)
                await trio.testing.wait_all_tasks_blocked()
                await queue.append([happening()])
            await queue.wait(0)
