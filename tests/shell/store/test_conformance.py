"""What every store does, on disk and in memory alike."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.config import StoreSettings
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import Midstates
from p2p.errors import LocalError, StoreFullError, VerificationError
from tests.support.store_rig import HASHER, MIB, UNLINKED, Blob, World, blob, held, put

if TYPE_CHECKING:
    from p2p.store.api import Partial, Store

SMALL = blob(1000)
LARGE = blob(5 * MIB + 77)
LINKS = pytest.mark.parametrize("hasher", [HASHER, UNLINKED], ids=["links", "whole"])


async def read(store: Store, content: Blob) -> bytes:
    with store.open(content.digest) as fd:
        return os.pread(fd, content.size + 1, 0)


async def complete(partial: Partial, content: Blob) -> None:
    partial.adopt(content.midstates)
    for index in range(content.layout.count):
        if index not in partial.have:
            assert await partial.write(index, content.chunk(index)) == [True]
    assert partial.have.complete
    await partial.commit()
    await partial.close()


@LINKS
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_stream_becomes_a_blob(world: World, size: int, algorithm: str, hasher: object) -> None:
    store = await world.make(hasher=hasher)
    content = blob(size, algorithm=algorithm)
    assert store.find(content.digest) is None
    partial = await store.open_partial(content.digest, size)
    for index in range(content.layout.count):
        assert await partial.append(index, content.chunk(index))
        assert len(partial.have) == index + 1
    stored = await partial.commit()
    assert (stored.digest, stored.size) == (content.digest, size)
    assert os.pread(partial.fd, size + 1, 0) == content.data
    await partial.close()
    assert store.find(content.digest) == stored
    assert await read(store, content) == content.data
    expected = content.midstates if hasher is HASHER else Midstates(algorithm)
    assert await store.midstates(content.digest) == expected


async def test_chunks_in_any_order_under_a_list(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    order = list(range(LARGE.layout.count))
    random.Random(1).shuffle(order)
    for count, index in enumerate(order, 1):
        assert await partial.write(index, LARGE.chunk(index)) == [True]
        assert len(partial.have) == count
        piece = os.pread(partial.fd, LARGE.layout.length(index), LARGE.layout.offset(index))
        assert piece == LARGE.chunk(index)
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data
    assert await store.midstates(LARGE.digest) == LARGE.midstates


async def test_one_call_takes_several_chunks_and_answers_for_each(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    data = bytearray(LARGE.chunks(2, 4))
    data[MIB + 5] ^= 1
    assert await partial.write(2, memoryview(data)) == [True, False, True, True]
    assert list(partial.have) == [2, 4, 5]
    assert await partial.write(0, LARGE.chunks(0, 6)) == [True] * 6
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


async def test_bad_chunks_are_neither_held_nor_written(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    assert await partial.write(1, memoryview(bytes(MIB))) == [False]
    assert await partial.write(5, memoryview(bytes(77))) == [False]
    assert len(partial.have) == 0
    assert os.pread(partial.fd, LARGE.size, 0) == bytes(LARGE.size)
    await partial.discard()


async def test_a_held_chunk_is_not_overwritten_by_a_bad_one(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    assert await partial.write(1, LARGE.chunk(1)) == [True]
    assert await partial.write(1, memoryview(bytes(MIB))) == [False]
    assert await partial.write(1, LARGE.chunk(1)) == [True]
    assert list(partial.have) == [1]
    await partial.discard()


async def test_calls_that_make_no_sense_are_refused(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates.prefix(2))
    with pytest.raises(ValueError, match="not known"):
        await partial.write(2, LARGE.chunk(2))
    with pytest.raises(ValueError, match="no whole chunks"):
        await partial.write(0, LARGE.chunk(0)[:-1])
    with pytest.raises(ValueError, match="chunks 6 to 6 of 6"):
        await partial.write(6, LARGE.chunk(0))
    with pytest.raises(ValueError, match="chunks -1 to -1"):
        await partial.write(-1, LARGE.chunk(0))
    with pytest.raises(ValueError, match="does not follow"):
        await partial.append(1, LARGE.chunk(1))
    partial.adopt(LARGE.midstates.prefix(1))
    assert partial.midstates == LARGE.midstates.prefix(2)
    with pytest.raises(ValueError, match="does not extend"):
        partial.adopt(Midstates("sha256", bytes(32 * 3)))
    with pytest.raises(ValueError, match="can't be one of"):
        partial.adopt(LARGE.midstates.joined(5, bytes(32)))
    with pytest.raises(ValueError, match="can't be one of"):
        await partial.relink(Midstates("sha512"))
    with pytest.raises(VerificationError, match="0 of 6 chunks"):
        await partial.commit()
    await partial.discard()
    with pytest.raises(RuntimeError, match="closed"):
        await partial.write(0, LARGE.chunk(0))
    with pytest.raises(ValueError, match="blob size"):
        await store.open_partial(LARGE.digest, -1)


@LINKS
async def test_a_wrong_end_is_noticed_and_nothing_of_the_call_kept(world: World, hasher: object) -> None:
    store = await world.make(hasher=hasher)
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert await partial.append(0, LARGE.chunks(0, 4))
    bad = bytearray(LARGE.chunks(4, 2))
    bad[0] ^= 1
    assert not await partial.append(4, memoryview(bad))
    assert list(partial.have) == [0, 1, 2, 3]
    with pytest.raises(VerificationError):
        await partial.commit()
    assert await partial.append(4, LARGE.chunks(4, 2))
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


@LINKS
async def test_a_wrong_blob_of_one_chunk(world: World, hasher: object) -> None:
    store = await world.make(hasher=hasher)
    partial = await store.open_partial(SMALL.digest, SMALL.size)
    for _ in range(2):
        assert not await partial.append(0, memoryview(bytes(SMALL.size)))
        assert await partial.write(0, memoryview(bytes(SMALL.size))) == [False]
    with pytest.raises(VerificationError):
        await partial.commit()
    assert await partial.write(0, memoryview(SMALL.data)) == [True]
    await partial.commit()
    await partial.close()
    assert await read(store, SMALL) == SMALL.data


async def test_without_libcrypto_the_whole_is_verified_at_the_end(world: World) -> None:
    store = await world.make(hasher=UNLINKED)
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    assert partial.midstates.length == 0
    assert await partial.append(0, LARGE.chunks(0, 3))
    assert await partial.write(3, memoryview(bytes(MIB))) == [True]
    assert await partial.write(4, LARGE.chunks(4, 2)) == [True, True]
    with pytest.raises(VerificationError, match="do not have this digest"):
        await partial.commit()
    assert store.find(LARGE.digest) is None
    await partial.discard()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await complete(partial, LARGE)
    assert await read(store, LARGE) == LARGE.data
    assert (await store.midstates(LARGE.digest)).length == 0
    assert await store.scrub_one(LARGE.digest)


def evil_twin(content: Blob, at: int) -> tuple[Midstates, bytes]:
    """A list that parts from the true one behind chunk ``at``, and bytes that link there under it."""
    chunk = bytearray(content.chunk(at))
    chunk[0] ^= 1
    good = content.midstates
    start = good.state(at)
    state = HASHER.advance("sha256", start, content.layout.offset(at), chunk)
    tail = state + good.states[(at + 1) * 32 :]
    return good.joined(at, tail), bytes(chunk)


async def test_relinking_drops_the_false_chunks_and_keeps_the_rest(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    evil, chunk = evil_twin(LARGE, 2)
    partial.adopt(evil)
    assert await partial.write(2, memoryview(chunk)) == [True]
    assert await partial.write(0, LARGE.chunks(0, 2)) == [True, True]
    assert await partial.write(3, LARGE.chunk(3)) == [False]
    assert await partial.write(4, LARGE.chunk(4)) == [True]
    await partial.relink(LARGE.midstates)
    assert list(partial.have) == [0, 1, 4]
    assert partial.midstates == LARGE.midstates
    await complete(partial, LARGE)
    assert await read(store, LARGE) == LARGE.data


async def test_bytes_outlive_every_list_and_are_linked_again(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    assert await partial.write(0, LARGE.chunks(0, 3)) == [True] * 3
    evil, _ = evil_twin(LARGE, 0)
    await partial.relink(evil)
    assert list(partial.have) == [2]
    await partial.relink(Midstates("sha256"))
    assert list(partial.have) == []
    partial.adopt(LARGE.midstates.prefix(2))
    await partial.relink(LARGE.midstates.prefix(2))
    assert list(partial.have) == [0, 1]
    partial.adopt(LARGE.midstates)
    assert await partial.write(5, LARGE.chunk(5)) == [True]
    assert list(partial.have) == [0, 1, 2, 5]
    await complete(partial, LARGE)


async def test_the_origin_follows_a_list_that_peers_began(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates.prefix(2))
    assert await partial.write(0, LARGE.chunks(0, 2)) == [True, True]
    assert await partial.append(2, LARGE.chunks(2, 3))
    assert partial.midstates == LARGE.midstates
    assert not await partial.append(5, memoryview(bytes(77)))
    assert await partial.append(5, LARGE.chunk(5))
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


async def test_bytes_hashed_here_win_over_a_list_adopted_meanwhile(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    evil, _ = evil_twin(LARGE, 0)
    async with trio.open_nursery() as nursery:
        with held(store, "write"):
            nursery.start_soon(partial.append, 0, LARGE.chunks(0, 2))
            await trio.testing.wait_all_tasks_blocked()
            partial.adopt(evil)
    assert partial.midstates == LARGE.midstates.prefix(2)
    assert list(partial.have) == [0, 1]
    await partial.discard()


async def test_two_streams_do_not_append_at_once(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    async with trio.open_nursery() as nursery:
        with held(store, "write"):
            nursery.start_soon(partial.append, 0, LARGE.chunks(0, 2))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="at once"):
                await partial.append(0, LARGE.chunks(0, 2))
    await partial.discard()


async def test_writes_run_side_by_side(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    async with trio.open_nursery() as nursery:
        for index in [*range(LARGE.layout.count), 3, 3]:
            nursery.start_soon(partial.write, index, LARGE.chunk(index))
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


async def test_closing_waits_for_writes_under_way(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    async with trio.open_nursery() as nursery:
        with held(store, "write"):
            nursery.start_soon(partial.write, 0, LARGE.chunks(0, 6))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial.close)
            await trio.testing.wait_all_tasks_blocked()
            assert store.partials() == []
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert partial.have.complete
    await partial.close()


async def test_a_closed_partial_is_resumed(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    await partial.write(1, LARGE.chunks(1, 3))
    assert store.partials() == []
    await partial.close()
    await partial.close()
    assert store.partials() == [(LARGE.digest, LARGE.size)]
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert list(partial.have) == [1, 2, 3]
    assert partial.midstates == LARGE.midstates
    await complete(partial, LARGE)
    assert store.partials() == []


@pytest.mark.slow
@LINKS
async def test_a_killed_process_loses_no_verified_chunk(world: World, hasher: object) -> None:
    store = await world.make(hasher=hasher)
    content = blob(40 * MIB + 1, seed=3)
    partial = await store.open_partial(content.digest, content.size)
    assert await partial.append(0, content.chunks(0, 3))
    partial.adopt(content.midstates)
    rng = random.Random(5)
    for index in rng.sample(range(3, content.layout.count), 25):
        await partial.write(index, content.chunk(index))
    held = list(partial.have)
    after = await world.crashed(store, hasher=hasher)
    assert after.partials() == [(content.digest, content.size)]
    resumed = await after.open_partial(content.digest, content.size)
    assert list(resumed.have) == held
    assert resumed.midstates == (content.midstates if hasher is HASHER else Midstates("sha256"))
    await complete(resumed, content)
    assert await read(after, content) == content.data
    await partial.close()


async def test_what_the_disk_lost_is_noticed_on_resuming(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    await partial.write(0, LARGE.chunks(0, 6))
    os.pwrite(partial.fd, b"\xff" * 9, 2 * MIB + 8)
    await partial.close()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert list(partial.have) == [0, 1, 3, 4, 5]
    await complete(partial, LARGE)


async def test_a_complete_blob_survives_a_crash(world: World) -> None:
    store = await world.make()
    await put(store, LARGE)
    await put(store, SMALL)
    after = await world.crashed(store)
    assert [b.digest for b in after.blobs()] == [LARGE.digest, SMALL.digest]
    assert await read(after, LARGE) == LARGE.data
    assert await after.midstates(LARGE.digest) == LARGE.midstates


async def test_another_size_than_begun_with(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await partial.close()
    with pytest.raises(VerificationError, match="begun with"):
        await store.open_partial(LARGE.digest, LARGE.size + 1)
    assert store.partials() == []
    partial = await store.open_partial(LARGE.digest, LARGE.size + 1)
    assert partial.layout == Layout(LARGE.size + 1)
    await partial.discard()


async def test_one_owner_at_a_time(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    with pytest.raises(LocalError, match="fetched already"):
        await store.open_partial(LARGE.digest, LARGE.size)
    with pytest.raises(LocalError, match="being fetched"):
        await store.discard_partial(LARGE.digest)
    await partial.append(0, memoryview(LARGE.data))
    await partial.commit()
    await partial.close()
    with pytest.raises(LocalError, match="complete already"):
        await store.open_partial(LARGE.digest, LARGE.size)


async def test_discarding_leaves_nothing(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await partial.append(0, LARGE.chunk(0))
    await partial.discard()
    await partial.discard()
    await partial.close()
    assert store.partials() == []
    assert store.statistics().reserved_bytes == 0
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert len(partial.have) == 0
    await partial.close()
    await store.discard_partial(LARGE.digest)
    await store.discard_partial(LARGE.digest)
    assert store.partials() == []
    assert (await world.crashed(store)).partials() == []


async def test_readers_keep_the_bytes_of_a_removed_blob(world: World) -> None:
    store = await world.make()
    await put(store, SMALL)
    with store.open(SMALL.digest) as fd:
        await store.remove(SMALL.digest)
        await store.remove(SMALL.digest)
        assert os.pread(fd, 2000, 0) == SMALL.data
    assert world.withdrawn == [SMALL.digest]
    assert store.find(SMALL.digest) is None
    with pytest.raises(KeyError):
        store.open(SMALL.digest)
    assert (await store.midstates(SMALL.digest)).length == 0
    assert (await world.crashed(store)).blobs() == []
    await put(store, SMALL)
    assert await read(store, SMALL) == SMALL.data


async def test_the_least_recently_used_go_first(world: World) -> None:
    store = await world.make(StoreSettings(quota=10 * MIB, minimum_free=0, high_water=1, low_water=1))
    blobs = [blob(3 * MIB, seed) for seed in range(4)]
    for content in blobs[:3]:
        await put(store, content)
    store.find(blobs[0].digest)
    await put(store, blobs[3])
    assert world.withdrawn == [blobs[1].digest]
    assert store.find(blobs[1].digest) is None
    assert await read(store, blobs[0]) == blobs[0].data
    assert store.statistics().evicted == 1


async def test_eviction_goes_from_high_water_to_low_water(world: World) -> None:
    store = await world.make(StoreSettings(quota=10 * MIB, minimum_free=0, high_water=0.95, low_water=0.5))
    blobs = [blob(MIB, seed) for seed in range(10)]
    for content in blobs[:9]:
        await put(store, content)
    assert world.withdrawn == []
    await put(store, blobs[9])
    assert world.withdrawn == [content.digest for content in blobs[:5]]
    assert store.statistics().blob_bytes == 5 * MIB


async def test_the_order_of_use_outlives_a_restart(world: World) -> None:
    store = await world.make()
    blobs = [blob(100, seed) for seed in range(3)]
    for age, content in enumerate(blobs):
        await put(store, content)
        world.stamp(store, content.digest, 1_000_000 + age)
    with store.open(blobs[0].digest):
        pass
    after = await world.crashed(store)
    assert [b.digest for b in after.blobs()] == [blobs[i].digest for i in (1, 2, 0)]


async def test_the_announcement_is_withdrawn_before_the_bytes_go(world: World) -> None:
    store = await world.make(StoreSettings(quota=4 * MIB, minimum_free=0))
    content = blob(3 * MIB, 1)
    await put(store, content)
    readable = []

    def withdraw(digest: object) -> None:
        with store.open(content.digest) as fd:
            readable.append(os.pread(fd, content.size, 0) == content.data)

    store.withdraw = withdraw
    await put(store, blob(3 * MIB, 2))
    assert readable == [True]


async def test_pinned_blobs_stay(world: World) -> None:
    settings = StoreSettings(quota=7 * MIB, minimum_free=0, high_water=1, low_water=1)
    store = await world.make(settings)
    blobs = [blob(3 * MIB, seed) for seed in range(3)]
    await store.pin(blobs[0].digest)
    await put(store, blobs[0])
    await put(store, blobs[1])
    assert store.find(blobs[0].digest).pinned
    store = await world.crashed(store, settings)
    assert store.statistics().pinned_bytes == 3 * MIB
    await put(store, blobs[2])
    assert world.withdrawn == [blobs[1].digest]
    await store.pin(blobs[2].digest)
    with pytest.raises(StoreFullError, match="unpin"):
        await store.open_partial(blobs[1].digest, 3 * MIB)
    await store.unpin(blobs[0].digest)
    await store.unpin(blobs[0].digest)
    await put(store, blobs[1])
    assert store.find(blobs[0].digest) is None


async def test_a_reservation_that_cannot_be_met_evicts_nothing(world: World) -> None:
    store = await world.make(StoreSettings(quota=4 * MIB, minimum_free=0))
    await put(store, SMALL)
    with pytest.raises(StoreFullError) as caught:
        await store.open_partial(LARGE.digest, LARGE.size)
    assert f"needs {LARGE.size:,} bytes" in str(caught.value)
    assert store.find(SMALL.digest) is not None
    assert store.partials() == []
    assert store.statistics().reserved_bytes == 0


async def test_reservations_count_before_they_are_written(world: World) -> None:
    store = await world.make(StoreSettings(quota=8 * MIB, minimum_free=0))
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert store.statistics().reserved_bytes == LARGE.size
    with pytest.raises(StoreFullError):
        await store.open_partial(blob(4 * MIB, 9).digest, 4 * MIB)
    await partial.close()
    assert store.statistics().reserved_bytes == 0
    partial = await store.open_partial(blob(4 * MIB, 9).digest, 4 * MIB)
    await partial.discard()


async def test_idle_partials_make_room_too(world: World) -> None:
    store = await world.make(StoreSettings(quota=6 * MIB, minimum_free=0, high_water=1, low_water=1))
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await partial.append(0, LARGE.chunks(0, 4))
    await partial.close()
    await put(store, blob(3 * MIB, 1))
    assert store.partials() == []
    assert world.withdrawn == [LARGE.digest]


async def test_a_share_of_the_filesystem_stays_free(world: World) -> None:
    store = await world.make(StoreSettings(minimum_free=1.0))
    with pytest.raises(StoreFullError, match="must stay so"):
        await store.open_partial(SMALL.digest, SMALL.size)


async def test_scrubbing_finds_a_flipped_bit(world: World) -> None:
    store = await world.make()
    await put(store, LARGE)
    assert await store.scrub_one(LARGE.digest)
    world.corrupt(store, LARGE.digest, at=3 * MIB)
    assert not await store.scrub_one(LARGE.digest)
    assert store.find(LARGE.digest) is None
    assert world.withdrawn == [LARGE.digest]
    assert store.statistics().quarantined == 1
    after = await world.crashed(store)
    assert after.statistics().quarantined == 1
    assert after.blobs() == []
    await put(store, LARGE)
    assert await store.scrub_one(LARGE.digest)
    with pytest.raises(KeyError):
        await store.scrub_one(SMALL.digest)


async def test_quarantine_goes_first_when_room_is_short(world: World) -> None:
    store = await world.make(StoreSettings(quota=6 * MIB, minimum_free=0, high_water=1, low_water=1))
    one, two = blob(3 * MIB, 1), blob(3 * MIB, 2)
    await put(store, one)
    await put(store, two)
    await store.quarantine(one.digest)
    await store.quarantine(one.digest)
    await put(store, blob(2 * MIB, 3))
    assert store.find(two.digest) is not None
    await put(store, blob(3 * MIB, 4))
    assert store.statistics().quarantined == 0


async def test_scrubbing_restores_a_lost_list(world: World) -> None:
    store = await world.make(hasher=UNLINKED)
    await put(store, LARGE)
    assert (await store.midstates(LARGE.digest)).length == 0
    after = await world.crashed(store)
    assert await after.scrub_one(LARGE.digest)
    assert await after.midstates(LARGE.digest) == LARGE.midstates


async def test_paranoia_hashes_the_finished_file(world: World) -> None:
    store = await world.make(StoreSettings(paranoid=True, minimum_free=0))
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert await partial.append(0, memoryview(LARGE.data))
    os.pwrite(partial.fd, b"\xff", 3 * MIB + 100)
    with pytest.raises(VerificationError, match="on disk"):
        await partial.commit()
    assert list(partial.have) == [0, 1, 2, 4, 5]
    assert await partial.write(3, LARGE.chunk(3)) == [True]
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


async def test_borrowed_buffers_are_good_until_a_cancelled_call_returns(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    buffer = bytearray(LARGE.data)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            with held(store, "write"):
                nursery.start_soon(partial.write, 0, memoryview(buffer))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    buffer[:] = bytes(len(buffer))
    assert partial.have.complete
    await partial.commit()
    await partial.close()
    assert await read(store, LARGE) == LARGE.data


@pytest.mark.parametrize("call", ["append", "write", "relink", "commit", "close", "discard"])
async def test_a_call_under_cancellation_leaves_it_usable_or_gone(world: World, call: str) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    partial.adopt(LARGE.midstates)
    await partial.write(0, LARGE.chunks(0, 5))
    arguments = {"append": (5, LARGE.chunk(5)), "write": (5, LARGE.chunk(5)), "relink": (LARGE.midstates,)}
    if call == "commit":
        await partial.write(5, LARGE.chunk(5))
    with trio.CancelScope() as scope:
        scope.cancel()
        await getattr(partial, call)(*arguments.get(call, ()))
    if store.find(LARGE.digest) is None:
        await partial.close()
        if call == "discard":
            assert store.partials() == []
        partial = await store.open_partial(LARGE.digest, LARGE.size)
        await complete(partial, LARGE)
    assert await read(store, LARGE) == LARGE.data
