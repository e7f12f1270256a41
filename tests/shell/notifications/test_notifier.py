from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
import trio.testing

from p2p.errors import LocalError
from p2p.notifications.api import Happening, What
from p2p.notifications.memory import MemoryQueue
from p2p.notifications.notifier import BATCH, HELD, QueueNotifier
from tests.support.happenings import Clock, happening


class FullQueue(MemoryQueue):
    """A queue whose disk is full while ``full``."""

    full = False

    async def append(self, happenings: Sequence[Happening]) -> None:
        if self.full:
            raise LocalError("queue", "full")
        await super().append(happenings)


@pytest.fixture
def queue() -> FullQueue:
    return FullQueue(max_events=1000, max_age=timedelta(days=1), clock=Clock())


async def noted(queue: MemoryQueue) -> list[What]:
    return [event.happening.what for event in await queue.read(0, 1000)]


async def test_a_push_is_noted_at_once_behind_the_pulls_before_it(queue: FullQueue) -> None:
    notifier = QueueNotifier(queue)
    await notifier.tell([happening(What.PULL)])
    assert queue.last == 0
    await notifier.tell([happening(What.PUSH), happening(What.DELETE)])
    assert await noted(queue) == [What.PULL, What.PUSH, What.DELETE]


async def test_many_pulls_are_noted_together(queue: FullQueue) -> None:
    notifier = QueueNotifier(queue)
    for _ in range(BATCH - 1):
        await notifier.tell([happening(What.PULL)])
    assert queue.last == 0
    await notifier.tell([happening(What.PULL)])
    assert queue.last == BATCH


async def test_pulls_are_noted_within_a_second(
    queue: FullQueue, autojump_clock: trio.testing.MockClock
) -> None:
    notifier = QueueNotifier(queue)
    async with trio.open_nursery() as nursery:
        await nursery.start(notifier.run)
        for wave in (1, 2):
            started = trio.current_time()
            await notifier.tell([happening(What.PULL)])
            with trio.fail_after(2):
                await queue.wait(wave - 1)
            assert trio.current_time() - started == pytest.approx(1.0)
        nursery.cancel_scope.cancel()


async def test_what_waits_at_the_end_is_noted(queue: FullQueue) -> None:
    notifier = QueueNotifier(queue)
    async with trio.open_nursery() as nursery:
        await nursery.start(notifier.run)
        await notifier.tell([happening(What.PULL)])
        nursery.cancel_scope.cancel()
    assert await noted(queue) == [What.PULL]


async def test_a_queue_that_fails_fails_nobody(queue: FullQueue) -> None:
    notifier = QueueNotifier(queue)
    queue.full = True
    await notifier.tell([happening(What.PULL)] * (HELD + 5))
    await notifier.tell([happening(What.PUSH)])
    assert notifier.lost == 1
    queue.full = False
    await notifier.flush()
    assert queue.last == HELD
