from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
import trio
import trio.testing

from p2p.errors import NotificationError
from p2p.notifications.api import What
from p2p.notifications.backoff import Backoff
from p2p.notifications.dispatcher import Dispatcher, Route
from p2p.notifications.interest import Interest
from p2p.notifications.memory import MemoryQueue
from tests.support.happenings import Clock, KeepingSink, happening

REFUSED = NotificationError("sink", "no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> MemoryQueue:
    return MemoryQueue(max_events=5, max_age=timedelta(hours=1), clock=clock)


def dispatcher(queue: MemoryQueue, *routes: Route) -> Dispatcher:
    return Dispatcher(queue, routes, rng=Random(1), backoff=Backoff(1.0, 60.0))


async def known(queue: MemoryQueue, *names: str) -> None:
    """Let consumers be known since before the first event."""
    for name in names:
        await queue.begin(name)


async def refused(one: Dispatcher, sink: KeepingSink) -> None:
    while not one.statistics()["a"].failed:
        await sink.changed.wait()


async def test_events_are_delivered_in_order_and_in_batches(queue: MemoryQueue) -> None:
    await known(queue, "a")
    sink = KeepingSink()
    await queue.append([happening() for _ in range(5)])
    one = dispatcher(queue, Route("a", sink, batch=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await sink.wait_for(5)
        await queue.append([happening()])
        await sink.wait_for(6)
        one.stop()
    assert [len(batch) for batch in sink.batches] == [2, 2, 1, 1]
    assert sink.numbers == [1, 2, 3, 4, 5, 6]
    assert sink.missing == 0
    assert await queue.begin("a") == (6, False)
    assert (one.statistics()["a"].delivered, one.statistics()["a"].queued) == (6, 0)


async def test_a_new_sink_is_told_so_and_hears_what_comes(queue: MemoryQueue) -> None:
    sink = KeepingSink()
    await queue.append([happening()])
    one = dispatcher(queue, Route("new", sink))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await queue.append([happening()])
        await sink.wait_for(1)
        one.stop()
    assert (sink.numbers, sink.missing) == ([2], 1)


async def test_a_sink_that_fails_is_asked_again_ever_more_rarely(
    queue: MemoryQueue, autojump_clock: trio.testing.MockClock
) -> None:
    await known(queue, "a", "b")
    failing, well = KeepingSink(REFUSED, REFUSED, REFUSED), KeepingSink()
    await queue.append([happening()])
    one = dispatcher(queue, Route("a", failing), Route("b", well))
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await well.wait_for(1)
        assert trio.current_time() == started, "one sink waits for another"
        await failing.wait_for(1)
        one.stop()
    assert 3.5 <= trio.current_time() - started <= 7.0
    assert one.statistics()["a"].failed == 3
    assert one.statistics()["a"].delivered == 1


async def test_retry_after_is_respected(queue: MemoryQueue, autojump_clock: trio.testing.MockClock) -> None:
    await known(queue, "a")
    sink = KeepingSink(NotificationError("sink", "later", retry_after=500.0))
    await queue.append([happening()])
    one = dispatcher(queue, Route("a", sink))
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await sink.wait_for(1)
        one.stop()
    assert trio.current_time() - started == pytest.approx(500.0)


async def test_a_sink_that_raises_anything_harms_no_other(
    queue: MemoryQueue, autojump_clock: trio.testing.MockClock
) -> None:
    await known(queue, "a")
    sink = KeepingSink(ZeroDivisionError("a bug"))
    await queue.append([happening()])
    one = dispatcher(queue, Route("a", sink))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await sink.wait_for(1)
        one.stop()
    assert one.statistics()["a"].failed == 1


async def test_what_the_queue_could_not_keep_is_counted_and_told(queue: MemoryQueue) -> None:
    await known(queue, "a")
    sink = KeepingSink()
    await queue.append([happening() for _ in range(8)])
    one = dispatcher(queue, Route("a", sink))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await sink.wait_for(5)
        one.stop()
    assert sink.numbers == [4, 5, 6, 7, 8]
    assert (one.statistics()["a"].dropped, sink.missing) == (3, 1)


async def test_a_sink_that_never_takes_loses_what_is_too_old(
    queue: MemoryQueue, clock: Clock, autojump_clock: trio.testing.MockClock
) -> None:
    await known(queue, "a")
    sink = KeepingSink(*[REFUSED] * 1000)
    await queue.append([happening()])
    one = dispatcher(queue, Route("a", sink))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await refused(one, sink)
        clock.now += timedelta(hours=2)
        await queue.append([happening()])
        sink.errors.clear()
        await sink.wait_for(1)
        one.stop()
    assert sink.numbers == [2]
    assert one.statistics()["a"].dropped == 1


async def test_filtered_events_are_passed_over(queue: MemoryQueue) -> None:
    await known(queue, "a")
    sink = KeepingSink()
    await queue.append([happening(What.PULL), happening(What.PUSH), happening(What.PULL)])
    one = dispatcher(queue, Route("a", sink, Interest(frozenset({What.PUSH}))))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await sink.wait_for(1)
        one.stop()
    assert sink.numbers == [2]
    assert await queue.begin("a") == (3, False)


async def test_the_position_is_kept_over_a_restart_and_nothing_is_lost(queue: MemoryQueue) -> None:
    await known(queue, "a")
    await queue.append([happening()])
    refusing = KeepingSink(REFUSED, REFUSED, REFUSED)
    one = dispatcher(queue, Route("a", refusing))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await refused(one, refusing)
        one.stop()
    assert refusing.numbers == []
    sink = KeepingSink()
    again = dispatcher(queue, Route("a", sink))
    again.stop()
    await again.run()
    assert sink.numbers == [1], "a stop tries once more what is queued"


async def test_a_stop_waits_for_a_sink_that_hangs_for_the_drain_only(
    queue: MemoryQueue, autojump_clock: trio.testing.MockClock
) -> None:
    class Hanging(KeepingSink):
        async def send(self, events: object) -> None:
            self.changed.set()
            await trio.sleep_forever()

    await known(queue, "a")
    await queue.append([happening()])
    sink = Hanging()
    one = Dispatcher(queue, [Route("a", sink)], rng=Random(1), drain=3.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        one.stop()
    assert trio.current_time() - started == pytest.approx(3.0)
    assert await queue.begin("a") == (0, False)


async def test_cancelling_at_any_moment_ends_it(queue: MemoryQueue) -> None:
    one = dispatcher(queue, Route("a", KeepingSink()))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
