"""What is particular to the store's inside; what every store does is in test_conformance.py."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.config import StoreSettings
from p2p.errors import StoreError, StoreFullError
from p2p.store.files import OsFiles, Space
from p2p.store.verify import LinkHasher
from tests.support.store_rig import HASHER, MIB, World, blob, held, put

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.store.api import Partial, Store


async def test_it_is_a_store(world: World) -> None:
    store: Store = await world.make()
    content = blob(10)
    partial: Partial = await store.open_partial(content.digest, content.size)
    assert partial.digest == content.digest
    await partial.discard()


async def test_the_hasher_is_found_by_itself(world: World) -> None:
    store = await world.make(hasher=None)
    assert isinstance(store.hasher, LinkHasher)
    assert store.hasher.available is HASHER.available


async def test_concurrent_reservations_do_not_promise_the_same_room_twice(tmp_path: Path) -> None:
    class Little(OsFiles):
        def space(self) -> Space:
            return Space(free=10 * MIB, total=100 * MIB)

    world = World("disk", tmp_path)
    store = await world.make(files=Little(tmp_path / "1"))
    outcomes = []

    async def reserve(seed: int) -> None:
        content = blob(4 * MIB, seed)
        try:
            outcomes.append(await store.open_partial(content.digest, content.size))
        except StoreFullError as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        for seed in range(4):
            nursery.start_soon(reserve, seed)
    assert sum(isinstance(outcome, StoreFullError) for outcome in outcomes) == 2
    for outcome in outcomes:
        if not isinstance(outcome, StoreFullError):
            await outcome.discard()
    world.close()


async def test_a_removed_blob_may_be_begun_anew_at_once(world: World) -> None:
    store = await world.make()
    content = blob(MIB + 5)
    await put(store, content)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(store.remove, content.digest)
            while store.find(content.digest) is not None:
                await trio.lowlevel.checkpoint()
            await put(store, content)
    with store.open(content.digest) as fd:
        assert os.pread(fd, content.size, 0) == content.data


async def test_no_descriptor_left_is_told_and_passes(tmp_path: Path) -> None:
    class Few(OsFiles):
        few = False

        def open(self, path: Path) -> int:
            if self.few:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return super().open(path)

    world = World("disk", tmp_path)
    files = Few(tmp_path / "1")
    store = await world.make(files=files)
    content = blob(10)
    await put(store, content)
    files.few = True
    with pytest.raises(StoreError, match="ulimit"):
        store.open(content.digest)
    files.few = False
    with store.open(content.digest) as fd:
        assert os.pread(fd, 11, 0) == content.data
    world.close()


async def test_a_cancelled_resumption_can_be_repeated(world: World) -> None:
    store = await world.make()
    content = blob(5 * MIB)
    partial = await store.open_partial(content.digest, content.size)
    await partial.append(0, content.chunks(0, 3))
    await partial.close()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            with held(store, "read"):
                nursery.start_soon(store.open_partial, content.digest, content.size)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert store.partials() == [(content.digest, content.size)]
    partial = await store.open_partial(content.digest, content.size)
    assert list(partial.have) == [0, 1, 2]
    await partial.close()


async def test_statistics(world: World) -> None:
    store = await world.make(StoreSettings(quota=100 * MIB, minimum_free=0))
    content = blob(MIB)
    await put(store, content)
    await store.pin(content.digest)
    partial = await store.open_partial(blob(2 * MIB).digest, 2 * MIB)
    found = store.statistics()
    assert (found.blobs, found.blob_bytes, found.pinned_bytes) == (1, MIB, MIB)
    assert (found.partials, found.reserved_bytes) == (1, 2 * MIB)
    assert (found.capacity, found.evicted, found.quarantined) == (100 * MIB, 0, 0)
    assert found.healthy
    assert found.free > 0
    await partial.discard()
