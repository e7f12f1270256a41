from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import StoreSettings
from p2p.core.swarm.offer import AFTER, ALONE, AWAITED_MOST, BUSY, FEW, PACE
from p2p.store.memory import MemoryStore
from p2p.transfer.holdings import Holdings, Watcher
from tests.support.store_rig import HASHER, MIB, blob, put

if TYPE_CHECKING:
    from trio.testing import MockClock

CONTENT = blob(2 * MIB + 5)
NAME = str(CONTENT.digest)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(StoreSettings(minimum_free=0), hasher=HASHER)
    await store.recover()
    yield store
    store.close()


def watched(holdings: Holdings, count: int) -> tuple[list[int], list[Watcher]]:
    """Have so many watch; gives who was told, in order, and the watchers."""
    told: list[int] = []
    watchers: list[Watcher] = [lambda _, i=i: told.append(i) for i in range(count)]  # type: ignore[misc]  # bound now
    for watcher in watchers:
        holdings.watch(NAME, watcher)
    return told, watchers


async def test_from_nothing_through_growing_to_complete(store: MemoryStore) -> None:
    holdings, told = Holdings(store, rng=random.Random(0)), list[str]()
    assert holdings.held(CONTENT.digest) is None
    holdings.watch(NAME, told.append)
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    holdings.begin(partial)
    assert holdings.growing(CONTENT.digest) is partial
    await partial.append(0, CONTENT.chunks(0, 2))
    holdings.changed(CONTENT.digest)
    held = holdings.held(CONTENT.digest)
    assert held is not None
    assert (held.size, held.complete, list(held.have)) == (CONTENT.size, False, [0, 1])
    assert held.midstates == CONTENT.midstates
    await partial.append(2, CONTENT.chunk(2))
    await partial.commit()
    holdings.end(CONTENT.digest)
    await partial.close()
    held = holdings.held(CONTENT.digest)
    assert held is not None
    assert (held.size, held.complete, held.midstates) == (CONTENT.size, True, None)
    assert told == [NAME] * 4, "as it begins, of two chunks, of the rest, and that it is complete"


async def test_many_subscribers_hear_in_turn_and_in_time_all_of_all(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    """Nobody is told while two others are served; then one after the other, to the end."""
    holdings = Holdings(store, rng=random.Random(0))
    told, watchers = watched(holdings, 5)
    async with trio.open_nursery() as nursery:
        await nursery.start(holdings.run)
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        holdings.begin(partial)
        told.clear()
        for host in ("10.0.0.8", "10.0.0.9"):
            holdings.serves(CONTENT.digest, host)
        await partial.append(0, CONTENT.chunks(0, 2))
        holdings.changed(CONTENT.digest)
        await trio.sleep(PACE)
        assert len(told) == 1, "the first one, as nobody was told for long"
        held = holdings.held(CONTENT.digest)
        assert held is not None
        seen = [len(holdings.told(held, NAME, watcher).have) for watcher in watchers]
        assert sorted(seen) == [0, 0, 0, 0, 2]
        holdings.served(CONTENT.digest, "10.0.0.9", 0.1)
        await trio.sleep(5 * AWAITED_MOST)
        assert sorted(told) == [0, 1, 2, 3, 4]
        await partial.append(2, CONTENT.chunk(2))
        await partial.commit()
        holdings.end(CONTENT.digest)
        await partial.close()
        await trio.sleep(6 * AWAITED_MOST)
        held = holdings.held(CONTENT.digest)
        assert held is not None
        assert all(holdings.told(held, NAME, watcher).complete for watcher in watchers)
        assert set(told[5:]) == {0, 1, 2, 3, 4}
        holdings.served(CONTENT.digest, "10.0.0.8", 0.1)
        nursery.cancel_scope.cancel()


async def test_the_next_are_told_when_those_before_them_have_asked(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    holdings = Holdings(store, rng=random.Random(0))
    told, _ = watched(holdings, 5)
    async with trio.open_nursery() as nursery:
        await nursery.start(holdings.run)
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        holdings.begin(partial)
        told.clear()
        await partial.append(0, CONTENT.chunks(0, 2))
        holdings.changed(CONTENT.digest)
        await trio.sleep(AWAITED_MOST / 2)
        assert len(told) == BUSY, "these may still ask"
        for host in ("10.0.0.8", "10.0.0.9"):
            holdings.serves(CONTENT.digest, host)
        for host in ("10.0.0.8", "10.0.0.9"):
            holdings.served(CONTENT.digest, host, 60.0)
        await trio.sleep(AWAITED_MOST / 4)
        assert len(told) == 2 * BUSY
        await trio.sleep(2 * AWAITED_MOST)
        assert sorted(told) == [0, 1, 2, 3, 4], "who does not ask is waited for no longer"
        nursery.cancel_scope.cancel()
    await partial.close()


async def test_what_has_spread_is_told_to_nobody_else_while_the_origin_streams(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    holdings = Holdings(store, rng=random.Random(0))
    watchers: list[Watcher] = [lambda _, i=i: None for i in range(4)]  # type: ignore[misc]
    async with trio.open_nursery() as nursery:
        await nursery.start(holdings.run)
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        holdings.begin(partial)
        for watcher in watchers:
            holdings.watch(NAME, watcher)
        holdings.seeding(CONTENT.digest, on=True)
        for index in range(2):
            await partial.append(index, CONTENT.chunk(index))
            holdings.changed(CONTENT.digest)
            holdings.spread(CONTENT.digest, 0b01)
            await trio.sleep(PACE)
        await trio.sleep(ALONE + 10 * AWAITED_MOST)
        held = holdings.held(CONTENT.digest)
        assert held is not None
        seen = [holdings.told(held, NAME, watcher).have for watcher in watchers]
        assert [sum(index in have for have in seen) for index in range(2)] == [1, 4]
        holdings.seeding(CONTENT.digest, on=False)
        holdings.changed(CONTENT.digest)
        await trio.sleep(AFTER + 5 * AWAITED_MOST)
        assert all(len(holdings.told(held, NAME, watcher).have) == 2 for watcher in watchers)
        nursery.cancel_scope.cancel()
    await partial.close()


async def test_what_may_be_seen_at_all_is_told_to_all_at_once(store: MemoryStore) -> None:
    holdings, told = Holdings(store, rng=random.Random(0)), list[str]()
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    holdings.begin(partial)
    holdings.watch(NAME, told.append)
    holdings.shown(CONTENT.digest)
    assert told == [NAME]
    holdings.end(CONTENT.digest)
    await partial.close()


async def test_given_up_is_absent(store: MemoryStore) -> None:
    holdings = Holdings(store, rng=random.Random(0))
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    holdings.begin(partial)
    holdings.end(CONTENT.digest)
    await partial.discard()
    assert holdings.held(CONTENT.digest) is None
    assert holdings.growing(CONTENT.digest) is None


async def test_watchers_come_and_go(store: MemoryStore) -> None:
    holdings, told = Holdings(store, rng=random.Random(0)), list[tuple[int, str]]()
    other = blob(5, seed=1)
    watchers = [lambda name, i=i: told.append((i, name)) for i in range(3)]  # type: ignore[misc]
    for watcher in watchers:
        holdings.watch(NAME, watcher)

    def leaves(name: str) -> None:
        holdings.unwatch(NAME, leaves)
        told.append((9, name))

    holdings.watch(NAME, leaves)
    holdings.changed(other.digest)
    assert told == []
    holdings.changed(CONTENT.digest)
    holdings.unwatch(NAME, watchers[1])
    holdings.unwatch(NAME, watchers[1])
    holdings.changed(CONTENT.digest)
    assert [i for i, _ in told] == [0, 1, 2, 9, 0, 2]
    holdings.unwatch(NAME, watchers[0])
    holdings.unwatch(NAME, watchers[2])
    assert not holdings._watchers


async def test_an_evicted_blob_is_absent(store: MemoryStore) -> None:
    holdings = Holdings(store, rng=random.Random(0))
    await put(store, CONTENT)
    assert holdings.held(CONTENT.digest) is not None
    await store.remove(CONTENT.digest)
    assert holdings.held(CONTENT.digest) is None


async def test_what_is_confined_is_not_there_for_peers_and_counted(store: MemoryStore) -> None:
    confined = {CONTENT.digest}
    holdings = Holdings(store, confined, rng=random.Random(0))
    holdings.asked(CONTENT.digest)
    assert holdings.withheld == 0  # there is nothing to withhold
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    holdings.begin(partial)
    assert holdings.withholds(CONTENT.digest)
    assert holdings.growing(CONTENT.digest) is None
    assert holdings.held(CONTENT.digest) is None
    await partial.append(0, CONTENT.chunks(0, 3))
    await partial.commit()
    holdings.end(CONTENT.digest)
    await partial.close()
    assert holdings.held(CONTENT.digest) is None
    holdings.asked(CONTENT.digest)
    assert holdings.withheld == 1
    confined.clear()
    assert not holdings.withholds(CONTENT.digest)
    assert holdings.held(CONTENT.digest) is not None
    holdings.asked(CONTENT.digest)
    assert holdings.withheld == 1


async def test_a_crowd_that_finds_a_whole_blob_hears_of_a_slice_each_and_then_of_all(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    content = blob(11 * MIB + 5)
    name = str(content.digest)
    await put(store, content)
    holdings, told = Holdings(store, rng=random.Random(0)), list[int]()
    watchers: list[Watcher] = [lambda _, i=i: told.append(i) for i in range(FEW + 1)]  # type: ignore[misc]

    def seen() -> list[int]:
        held = holdings.held(content.digest)
        assert held is not None
        parts = [holdings.told(held, name, watcher) for watcher in watchers]
        return [12 if part.complete else len(part.have) for part in parts]

    async with trio.open_nursery() as nursery:
        await nursery.start(holdings.run)
        for watcher in watchers[:FEW]:
            holdings.watch(name, watcher)
        assert not told
        assert seen()[:FEW] == [12] * FEW, "few hear of all at once"
        for host in ("10.0.0.8", "10.0.0.9"):
            holdings.serves(content.digest, host)
        holdings.watch(name, watchers[FEW])
        assert sorted(told) == list(range(FEW + 1)), "that there is less for them"
        await trio.sleep(PACE)
        assert sorted(seen()) == [0] * FEW + [1], "the last one, which proves the list"
        for host in ("10.0.0.8", "10.0.0.9"):
            holdings.served(content.digest, host, 0.1)
        await trio.sleep(2)
        assert seen() == [12] * (FEW + 1)
        told.clear()
        late: Watcher = lambda _: told.append(99)  # noqa: E731
        holdings.watch(name, late)
        watchers.append(late)
        assert seen() == [12] * (FEW + 2), "it has gone out: who comes now hears of all"
        assert not told
        for watcher in watchers[1:]:
            holdings.unwatch(name, watcher)
        for watcher in watchers[1 : FEW + 1]:
            holdings.watch(name, watcher)
        assert sum(seen()) < 12 * len(watchers), "another crowd"
        nursery.cancel_scope.cancel()


async def test_a_whole_blob_that_goes_while_a_crowd_hears_of_it_is_gone_for_all(store: MemoryStore) -> None:
    await put(store, CONTENT)
    holdings, told = Holdings(store, rng=random.Random(0)), list[int]()
    for i in range(FEW + 1):
        holdings.watch(NAME, lambda _, i=i: told.append(i))  # type: ignore[misc]
    told.clear()
    holdings.changed(CONTENT.digest)
    assert len(told) == 1, "one in turn"
    await store.remove(CONTENT.digest)
    holdings.changed(CONTENT.digest)
    assert set(told) == set(range(FEW + 1))
    assert holdings.held(CONTENT.digest) is None
