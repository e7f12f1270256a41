from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from p2p.config import StoreSettings
from p2p.store.memory import MemoryStore
from p2p.transfer.holdings import Holdings
from tests.support.store_rig import HASHER, MIB, blob, put

CONTENT = blob(2 * MIB + 5)
NAME = str(CONTENT.digest)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(StoreSettings(minimum_free=0), hasher=HASHER)
    await store.recover()
    yield store
    store.close()


async def test_from_nothing_through_growing_to_complete(store: MemoryStore) -> None:
    holdings, told = Holdings(store), list[str]()
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
    assert told == [NAME] * 3


async def test_given_up_is_absent(store: MemoryStore) -> None:
    holdings = Holdings(store)
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    holdings.begin(partial)
    holdings.end(CONTENT.digest)
    await partial.discard()
    assert holdings.held(CONTENT.digest) is None
    assert holdings.growing(CONTENT.digest) is None


async def test_watchers_come_and_go(store: MemoryStore) -> None:
    holdings, told = Holdings(store), list[tuple[int, str]]()
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
    holdings = Holdings(store)
    await put(store, CONTENT)
    assert holdings.held(CONTENT.digest) is not None
    await store.remove(CONTENT.digest)
    assert holdings.held(CONTENT.digest) is None


async def test_what_is_confined_is_not_there_for_peers_and_counted(store: MemoryStore) -> None:
    confined = {CONTENT.digest}
    holdings = Holdings(store, confined)
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
