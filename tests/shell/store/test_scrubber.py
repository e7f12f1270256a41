from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.config import ScrubSettings, StoreSettings
from p2p.store.paths import MIDSTATES
from p2p.store.scrubber import NOTHING, QUIET, Scrubber, ScrubStatistics
from tests.support.store_rig import MIB, Blob, World, blob, put

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest

DAY = 86400.0
CYCLE = 6.32 * DAY
"""A little more than nine tenths of a week."""
BLOBS = [blob(size, seed) for seed, size in enumerate((2 * MIB, 1000, 3 * MIB + 5))]


class Rounds:
    """A scrubber at work on a store, whose clock the test turns; notes what is scrubbed when."""

    def __init__(self, store: Any, clock: MockClock, nursery: trio.Nursery, **settings: Any) -> None:
        self.store = store
        self.clock = clock
        self.scrubbed: list[tuple[Digest, float]] = []
        self.bad: list[Digest] = []
        self.scrubber = Scrubber(store, ScrubSettings(**settings), on_bad=self.bad.append)
        self.start = trio.current_time()
        plain = store.scrub_one

        async def noting(digest: Digest, *, share: float = 1.0) -> bool:
            self.scrubbed.append((digest, trio.current_time() - self.start))
            done: bool = await plain(digest, share=share)
            return done

        store.scrub_one = noting
        nursery.start_soon(self.scrubber.run)

    async def settle(self) -> None:
        """Wait until all threads are done and every task sleeps."""
        workers = self.store._workers
        while True:
            await wait_all_tasks_blocked()
            if not workers._hashing.borrowed_tokens + workers._disk.borrowed_tokens:
                return

    async def turn(self, seconds: float, step: float = 3600.0) -> None:
        await self.settle()
        for _ in range(round(seconds / step)):
            self.clock.jump(step)
            await self.settle()

    @property
    def order(self) -> list[Digest]:
        return [digest for digest, _ in self.scrubbed]


async def filled(world: World, contents: list[Blob] = BLOBS, settings: StoreSettings | None = None) -> Any:
    store = await world.make(settings)
    for age, content in enumerate(contents):
        await put(store, content)
        if world.kind == "disk" and content.midstates.length:
            # The kernel's clock is too coarse to tell two in a test apart.
            os.utime(store._paths.blob(content.digest, MIDSTATES), (1_000 + age, 1_000 + age))
    return store


async def test_a_cycle_takes_the_period_and_each_blob_once(world: World, mock_clock: MockClock) -> None:
    store = await filled(world)
    digests = [content.digest for content in BLOBS]
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(7 * DAY)
        statistics = rounds.scrubber.statistics()
        # The small one has no record before its first scrub.
        assert rounds.order[:3] == [digests[1], digests[0], digests[2]]
        assert statistics.cycles == 1
        times = [time for _, time in rounds.scrubbed]
        assert times[1] > DAY
        assert 6 * DAY < times[2] < 7 * DAY
        await rounds.turn(7 * DAY)
        statistics = rounds.scrubber.statistics()
        assert statistics.cycles == 2
        assert statistics.blobs == len(rounds.scrubbed) >= 6
        sizes = {content.digest: content.size for content in BLOBS}
        assert statistics.bytes == sum(sizes[digest] for digest in rounds.order)
        assert (statistics.bad, statistics.failed) == (0, 0)
        nursery.cancel_scope.cancel()
    assert sorted(rounds.order[3:6]) == sorted(digests)
    if world.kind == "memory":
        # On disk two marks made at once may have the same time.
        assert rounds.order[3:6] == rounds.order[:3]


async def test_a_bad_one_is_put_aside_and_told(world: World, mock_clock: MockClock) -> None:
    store = await filled(world)
    rotten = BLOBS[0].digest
    world.corrupt(store, rotten, MIB + 3)
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(7 * DAY)
        nursery.cancel_scope.cancel()
    assert rounds.bad == world.withdrawn == [rotten]
    assert store.find(rotten) is None
    assert store.statistics().quarantined == 1
    assert rounds.scrubber.statistics().bad == 1
    assert {BLOBS[1].digest, BLOBS[2].digest} <= set(rounds.order)


async def test_one_that_is_read_comes_last(world: World, mock_clock: MockClock) -> None:
    contents = [blob(2 * MIB, seed) for seed in range(3)]
    store = await filled(world, contents)
    first, second, third = (content.digest for content in contents)
    mock_clock.jump(QUIET)
    with store.open(first), store.open(third):
        pass
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        # The second is taken first, and by the time of the third nobody reads it any more.
        await rounds.turn(CYCLE)
        nursery.cancel_scope.cancel()
    assert rounds.order == [second, third, first]


async def test_readers_all_the_time_do_not_save_a_blob(world: World, mock_clock: MockClock) -> None:
    store = await filled(world)
    store.used_within = lambda digest, seconds: True
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(7 * DAY)
        nursery.cancel_scope.cancel()
    assert set(rounds.order) == {content.digest for content in BLOBS}


async def test_scrubbing_is_no_use(world: World, mock_clock: MockClock) -> None:
    store = await filled(world)
    before = store.blobs()
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(CYCLE)
        nursery.cancel_scope.cancel()
    assert len(rounds.order) == 3
    assert store.blobs() == before
    assert not store.used_within(BLOBS[0].digest, 30 * DAY)


async def test_after_a_restart_it_goes_on_with_the_oldest(world: World, mock_clock: MockClock) -> None:
    contents = [blob(2 * MIB, seed) for seed in range(3)]
    store = await filled(world, contents)
    first, second, third = (content.digest for content in contents)
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(3 * DAY)
        nursery.cancel_scope.cancel()
    assert rounds.order == [first]
    store = await world.crashed(store)
    if world.kind == "disk":
        # A copy has the times of its making, but for what was verified before.
        for age, digest in enumerate((second, third)):
            os.utime(store._paths.blob(digest, MIDSTATES), (1_000 + age, 1_000 + age))
    assert [one.digest for one in await store.oldest_verified()] == [second, third, first]


async def test_what_went_meanwhile_and_what_fails(world: World, mock_clock: MockClock) -> None:
    store = await filled(world, [blob(2 * MIB, seed) for seed in range(3)])
    digests = [one.digest for one in await store.oldest_verified()]
    plain = store._disk.open

    def failing(path: Any) -> int:
        if path.name == digests[1].hex:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        fd: int = plain(path)
        return fd

    store._disk.open = failing
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.settle()
        await store.remove(digests[0])
        await rounds.turn(CYCLE)
        nursery.cancel_scope.cancel()
    assert rounds.order == digests
    statistics = rounds.scrubber.statistics()
    assert (statistics.blobs, statistics.bad, statistics.failed) == (1, 0, 1)
    assert store.statistics().healthy


async def test_an_empty_store_is_looked_at_again(world: World, mock_clock: MockClock) -> None:
    store = await world.make()
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(DAY)
        assert rounds.scrubber.statistics() == ScrubStatistics()
        await put(store, BLOBS[0])
        await rounds.turn(NOTHING + 7 * DAY)
        nursery.cancel_scope.cancel()
    assert rounds.order == [BLOBS[0].digest]


async def test_a_list_that_cannot_be_read_is_tried_again(disk_world: World, mock_clock: MockClock) -> None:
    store = await filled(disk_world)
    plain = store._disk.entries

    def failing(directory: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    store._disk.entries = failing
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery)
        await rounds.turn(NOTHING / 2, NOTHING / 2)
        assert rounds.scrubber.statistics().failed == 1
        store._disk.entries = plain
        await rounds.turn(8 * DAY)
        nursery.cancel_scope.cancel()
    assert len(rounds.order) >= 3


async def test_no_period_no_scrub(world: World) -> None:
    store = await filled(world)
    scrubber = Scrubber(store, ScrubSettings(period=0))
    async with trio.open_nursery() as nursery:
        await nursery.start(scrubber.run)
    assert scrubber.statistics() == ScrubStatistics()


async def test_a_stop_in_the_middle_of_a_blob(world: World, mock_clock: MockClock) -> None:
    store = await filled(world, [blob(3 * MIB)])
    reads = []
    plain = store._disk.read

    def slow(fd: int, buffer: memoryview, offset: int) -> int:
        reads.append(offset)
        mock_clock.jump(1.0)
        count: int = plain(fd, buffer, offset)
        return count

    store._disk.read = slow
    before = sum(1 for _ in os.scandir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        rounds = Rounds(store, mock_clock, nursery, share=0.1)
        await rounds.turn(7 * DAY, 6.4 * DAY)
        # One second of reading: nine of rest.
        assert reads == [0]
        mock_clock.jump(8.9)
        await rounds.settle()
        assert reads == [0]
        mock_clock.jump(0.2)
        await rounds.settle()
        assert reads == [0, MIB]
        nursery.cancel_scope.cancel()
    assert rounds.scrubber.statistics().blobs == 0
    assert sum(1 for _ in os.scandir("/proc/self/fd")) == before
    assert store.find(BLOBS[0].digest) is None
    assert store.find(blob(3 * MIB).digest) is not None
