"""What uploads do, on disk and in memory alike."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2p.config import StoreSettings
from p2p.core.oci.digest import Digest
from p2p.core.swarm.midstates import Midstates
from p2p.errors import StoreError, StoreFullError, VerificationError
from p2p.store.memory import MemoryStore
from p2p.store.paths import JOURNAL, MIDSTATES, PIN
from p2p.store.uploads import RESTORED
from tests.support.store_rig import HASHER, MIB, UNLINKED, Blob, World, blob, held, put

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.store.api import Upload, Uploads

SMALL = blob(1000)
LARGE = blob(5 * MIB + 77)
LINKS = pytest.mark.parametrize("hasher", [HASHER, UNLINKED], ids=["links", "whole"])


def read(store: Any, content: Blob) -> bytes:
    with store.open(content.digest) as fd:
        return os.pread(fd, content.size + 1, 0)


def names(store: Any) -> list[str]:
    paths = store._paths
    directories = [paths.uploads("sha256"), paths.blobs("sha256"), paths.partials("sha256")]
    return sorted(entry.name for directory in directories for entry in store._disk.entries(directory))


async def upload(store: Any, content: Blob, session: str = "s", *, pin: bool = False) -> Any:
    one = await store.uploads.begin(session, content.algorithm)
    await one.write(content.data)
    return await one.finish(content.digest, pin=pin)


async def test_they_are_uploads(world: World) -> None:
    store = await world.make()
    uploads: Uploads = store.uploads
    one: Upload = await uploads.begin("a-b_C9")
    assert (one.session, one.size) == ("a-b_C9", 0)
    await one.discard()
    assert uploads.sessions() == []


@LINKS
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 9 * MIB + 5])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_an_upload_is_stored_as_a_download_is(
    world: World, size: int, algorithm: str, hasher: object
) -> None:
    store, other = await world.make(hasher=hasher), await world.make(hasher=hasher)
    content = blob(size, algorithm=algorithm)
    stored = await upload(store, content)
    await put(other, content)
    assert stored == store.find(content.digest) == other.find(content.digest)
    assert read(store, content) == content.data
    midstates = await store.midstates(content.digest)
    assert midstates == await other.midstates(content.digest)
    assert midstates == (content.midstates if hasher is HASHER else Midstates(algorithm))
    assert await store.scrub_one(content.digest)
    assert store.uploads.sessions() == []
    assert store.statistics().reserved_bytes == 0


@pytest.mark.slow
@LINKS
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_gives_the_same_blob_and_list(hasher: Any, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from([LARGE, blob(3 * MIB), blob(2 * MIB + 1, algorithm="sha512")]))
    near = st.sampled_from([MIB - 1, MIB, MIB + 1, 2 * MIB])
    cuts = data.draw(st.lists(st.integers(0, content.size) | near, max_size=12))
    pauses = data.draw(st.sets(st.integers(0, len(cuts)), max_size=3))

    async def run() -> None:
        store = MemoryStore(StoreSettings(minimum_free=0), hasher=hasher)
        one = await store.uploads.begin("s", content.algorithm)
        edges = [0, *sorted(cuts), content.size]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            await one.write(memoryview(content.data)[start:stop])
            assert one.size == stop
            if index in pauses:
                await one.close()
                one = await store.uploads.resume("s")
                assert one.size == stop
        await one.finish(content.digest)
        assert read(store, content) == content.data
        expected = content.midstates if hasher is HASHER else Midstates(content.algorithm)
        assert await store.midstates(content.digest) == expected
        store.close()

    trio.run(run)


async def test_small_writes_are_gathered_into_one_hop_a_mebibyte(world: World) -> None:
    store = await world.make()
    calls: list[int] = []
    plain = store._disk.write
    store._disk.write = lambda fd, data, at: calls.append(len(data)) or plain(fd, data, at)
    one = await store.uploads.begin("s")
    view = memoryview(LARGE.data)
    for start in range(0, LARGE.size, 1 << 16):
        await one.write(view[start : start + (1 << 16)])
    assert calls == [MIB] * 5
    assert one.size == LARGE.size
    await one.finish(LARGE.digest)
    assert calls[5] == 77
    one = await store.uploads.begin("s")
    await one.write(view[: 1 << 19])
    await one.write(view[1 << 19 :])
    # The rest of the first mebibyte is gathered; what follows is taken from the caller's buffer.
    assert calls[-2:] == [MIB, 4 * MIB]
    await one.discard()


async def test_another_digest_changes_nothing(world: World) -> None:
    store = await world.make()
    one = await store.uploads.begin("s")
    await one.write(LARGE.data)
    for wrong in (SMALL.digest, Digest.of(b"", "sha512")):
        with pytest.raises(VerificationError, match="another digest"):
            await one.finish(wrong)
    assert one.size == LARGE.size
    assert store.find(SMALL.digest) is None
    assert (await one.finish(LARGE.digest)).size == LARGE.size


@LINKS
async def test_a_digest_of_another_algorithm(world: World, hasher: object) -> None:
    store = await world.make(hasher=hasher)
    content = blob(2 * MIB + 5, algorithm="sha512")
    one = await store.uploads.begin("s", "sha256")
    await one.write(content.data)
    await one.finish(content.digest)
    assert read(store, content) == content.data
    expected = content.midstates if hasher is HASHER else Midstates("sha512")
    assert await store.midstates(content.digest) == expected


async def test_every_byte_is_read_again_where_that_is_asked(world: World) -> None:
    store = await world.make(StoreSettings(minimum_free=0, paranoid=True))
    one = await store.uploads.begin("s")
    await one.write(LARGE.data)
    os.pwrite(one._file.fd, b"\xff\xff", MIB)
    with pytest.raises(VerificationError):
        await one.finish(LARGE.digest)
    await one.discard()
    await upload(store, LARGE)
    assert await store.midstates(LARGE.digest) == LARGE.midstates


async def test_one_that_is_here_already_is_kept(world: World) -> None:
    store = await world.make()
    await put(store, LARGE)
    with store.open(LARGE.digest) as fd:
        inode = os.fstat(fd).st_ino
    stored = await upload(store, LARGE, pin=True)
    assert stored.pinned
    with store.open(LARGE.digest) as fd:
        assert os.fstat(fd).st_ino == inode
    assert names(store) == sorted(LARGE.digest.hex + suffix for suffix in ("", MIDSTATES, PIN))
    assert (await world.crashed(store)).find(LARGE.digest).pinned


async def test_one_whose_file_vanished_is_not_here(disk_world: World) -> None:
    store = await disk_world.make()
    await put(store, LARGE)
    store._paths.blob(LARGE.digest).unlink()
    await upload(store, LARGE)
    assert read(store, LARGE) == LARGE.data


async def test_two_of_the_same_blob_finish_at_once(world: World) -> None:
    store = await world.make()
    uploads = [await store.uploads.begin(f"s{i}") for i in range(3)]
    results = []
    for one in uploads:
        await one.write(LARGE.data)

    async def finish(one: Upload) -> None:
        results.append(await one.finish(LARGE.digest, pin=True))

    async with trio.open_nursery() as nursery:
        for one in uploads:
            nursery.start_soon(finish, one)
    assert [(r.digest, r.pinned) for r in results] == [(LARGE.digest, True)] * 3
    assert read(store, LARGE) == LARGE.data
    assert store.statistics().blob_bytes == LARGE.size
    assert names(store) == sorted(LARGE.digest.hex + suffix for suffix in ("", MIDSTATES, PIN))


async def test_a_pinned_one_is_never_a_victim(world: World) -> None:
    roomy = StoreSettings(quota=9 * MIB, minimum_free=0, high_water=1, low_water=1)
    store = await world.make(roomy)
    first, second = blob(4 * MIB, 1), blob(4 * MIB, 2)
    stored = await upload(store, first, pin=True)
    assert stored.pinned
    await upload(store, second)
    with pytest.raises(StoreFullError, match="unpin images"):
        await store.open_partial(blob(6 * MIB, 3).digest, 6 * MIB)
    await put(store, blob(4 * MIB, 4))
    assert store.find(first.digest) is not None
    assert store.find(second.digest) is None
    assert (await world.crashed(store, roomy)).find(first.digest).pinned


@pytest.mark.parametrize("end", ["commit", "close", "discard"])
async def test_a_download_that_grows_meanwhile_ends_well(world: World, end: str) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    assert await partial.append(0, LARGE.chunks(0, 2))
    await upload(store, LARGE, pin=True)
    assert await partial.append(2, LARGE.chunks(2, 4))
    assert os.pread(partial.fd, LARGE.size, 0) == LARGE.data
    if end == "commit":
        assert await partial.commit() == store.find(LARGE.digest)
        assert os.pread(partial.fd, LARGE.size, 0) == LARGE.data
        await partial.close()
    else:
        await getattr(partial, end)()
    assert read(store, LARGE) == LARGE.data
    assert await store.midstates(LARGE.digest) == LARGE.midstates
    found = store.statistics()
    assert (found.blobs, found.blob_bytes, found.partials, found.reserved_bytes) == (1, LARGE.size, 0, 0)
    assert names(store) == sorted(LARGE.digest.hex + suffix for suffix in ("", MIDSTATES, PIN))


async def test_a_download_and_an_upload_finish_at_once(world: World) -> None:
    store = await world.make()
    for seed in range(4):
        content = blob(2 * MIB + 3, seed)
        partial = await store.open_partial(content.digest, content.size)
        assert await partial.append(0, memoryview(content.data))
        one = await store.uploads.begin("s")
        await one.write(content.data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial.commit)
            nursery.start_soon(one.finish, content.digest)
        await partial.close()
        assert read(store, content) == content.data
        assert await store.scrub_one(content.digest)
    assert store.statistics().blobs == 4


async def test_an_idle_download_gives_way(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await partial.append(0, LARGE.chunks(0, 2))
    await partial.close()
    assert LARGE.digest.hex + JOURNAL in names(store)
    await upload(store, LARGE)
    assert store.partials() == []
    assert names(store) == sorted(LARGE.digest.hex + suffix for suffix in ("", MIDSTATES))


async def test_while_one_is_sealed_others_wait(world: World) -> None:
    store = await world.make()
    partial = await store.open_partial(LARGE.digest, LARGE.size)
    await partial.append(0, LARGE.chunks(0, 2))
    await partial.close()
    one = await store.uploads.begin("s")
    await one.write(LARGE.data)
    refused = []

    async def begin() -> None:
        try:
            await store.open_partial(LARGE.digest, LARGE.size)
        except StoreError as error:
            refused.append(str(error))

    async with trio.open_nursery() as nursery:
        with held(store, "write"):
            nursery.start_soon(one.finish, LARGE.digest)
            while not store._leaving.busy(LARGE.digest):
                await trio.lowlevel.checkpoint()
            nursery.start_soon(begin)
            nursery.start_soon(store.discard_partial, LARGE.digest)
            await trio.testing.wait_all_tasks_blocked()
            assert refused == []
    assert "complete already" in refused[0]
    assert read(store, LARGE) == LARGE.data
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.remove, LARGE.digest)
        nursery.start_soon(upload, store, LARGE)
    assert store.find(LARGE.digest) is None or read(store, LARGE) == LARGE.data


async def test_closing_and_going_on(world: World) -> None:
    store = await world.make()
    one = await store.uploads.begin("s")
    view = memoryview(LARGE.data)
    await one.write(view[: MIB + 300])
    await one.close()
    await one.close()
    assert store.uploads.sessions() == ["s"]
    assert store.statistics().reserved_bytes == MIB + 300
    with pytest.raises(RuntimeError, match="closed"):
        await one.write(b"x")
    one = await store.uploads.resume("s")
    assert one.size == MIB + 300
    await one.write(view[MIB + 300 :])
    await one.finish(LARGE.digest)
    await one.close()
    await one.discard()
    assert read(store, LARGE) == LARGE.data
    assert await store.midstates(LARGE.digest) == LARGE.midstates


@LINKS
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_killed_process_loses_no_whole_mebibyte(world: World, hasher: object, algorithm: str) -> None:
    store = await world.make(hasher=hasher)
    content = blob(3 * MIB + 50, algorithm=algorithm)
    one = await store.uploads.begin("s", algorithm)
    await one.write(content.data[: 2 * MIB + 5])
    after = await world.crashed(store, hasher=hasher)
    assert after.uploads.sessions() == ["s"]
    assert after.statistics().reserved_bytes == 2 * MIB
    two = await after.uploads.resume("s")
    assert two.size == 2 * MIB
    await two.write(content.data[two.size :])
    await two.finish(content.digest)
    assert read(after, content) == content.data
    expected = content.midstates if hasher is HASHER else Midstates(algorithm)
    assert await after.midstates(content.digest) == expected
    await one.discard()


async def test_a_cut_file_is_taken_as_far_as_it_goes(disk_world: World) -> None:
    store = await disk_world.make()
    one = await store.uploads.begin("s")
    await one.write(LARGE.data)
    await one.close()
    os.truncate(store._paths.upload("sha256", "s"), MIB + 3)
    one = await store.uploads.resume("s")
    assert one.size == MIB + 3
    await one.write(LARGE.data[MIB + 3 :])
    await one.finish(LARGE.digest)
    assert read(store, LARGE) == LARGE.data


async def test_one_whose_file_is_gone_is_gone(disk_world: World) -> None:
    store = await disk_world.make()
    await (await store.uploads.begin("s")).close()
    store._paths.upload("sha256", "s").unlink()
    with pytest.raises(KeyError):
        await store.uploads.resume("s")
    assert store.uploads.sessions() == []


async def test_one_owner_at_a_time(world: World) -> None:
    store = await world.make()
    one = await store.uploads.begin("s")
    with pytest.raises(StoreError, match="in use"):
        await store.uploads.resume("s")
    with pytest.raises(StoreError, match="in use"):
        await store.uploads.drop("s")
    with pytest.raises(StoreError, match="begun already"):
        await store.uploads.begin("s")
    await one.write(SMALL.data)
    await one.close()
    resumed = []

    async def resume() -> None:
        resumed.append(await store.uploads.resume("s"))

    async with trio.open_nursery() as nursery:
        with held(store, "read"):
            nursery.start_soon(resume)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(StoreError, match="in use"):
                await store.uploads.resume("s")
    await resumed[0].discard()


async def test_a_cancelled_resumption_can_be_repeated(world: World) -> None:
    store = await world.make()
    content = blob((RESTORED + 1) * MIB + 5)  # more than one hop takes
    one = await store.uploads.begin("s")
    await one.write(content.data)
    await one.close()
    async with trio.open_nursery() as nursery:
        with held(store, "read"):
            nursery.start_soon(store.uploads.resume, "s")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    one = await store.uploads.resume("s")
    await one.finish(content.digest)
    assert read(store, content) == content.data


async def test_dropping(world: World) -> None:
    store = await world.make()
    one = await store.uploads.begin("s")
    await one.write(LARGE.data)
    await one.close()
    await store.uploads.drop("s")
    await store.uploads.drop("s")
    await store.uploads.drop("../no")
    assert store.uploads.sessions() == []
    assert names(store) == []
    assert store.statistics().reserved_bytes == 0
    with pytest.raises(KeyError):
        await store.uploads.resume("s")
    assert (await world.crashed(store)).uploads.sessions() == []


@pytest.mark.parametrize("session", ["", "a/b", "..", "a.b", "x" * 129, "é", "a\n", "a\0"])
async def test_sessions_that_none_can_have(world: World, session: str) -> None:
    store = await world.make()
    with pytest.raises(ValueError, match="no upload is called"):
        await store.uploads.begin(session)
    with pytest.raises(KeyError):
        await store.uploads.resume(session)
    with pytest.raises(ValueError, match="md5"):
        await store.uploads.begin("s", "md5")


async def test_room_is_taken_as_it_grows(world: World) -> None:
    settings = StoreSettings(quota=8 * MIB, minimum_free=0, high_water=1, low_water=1)
    store = await world.make(settings)
    old = blob(4 * MIB, 9)
    await put(store, old)
    one = await store.uploads.begin("s")
    assert store.statistics().reserved_bytes == 0
    await one.write(bytes(3 * MIB))
    assert store.statistics().reserved_bytes == 3 * MIB
    assert store.find(old.digest) is not None
    await one.write(bytes(2 * MIB))
    assert world.withdrawn == [old.digest]
    with pytest.raises(StoreFullError, match=r"upload s: needs 3,145,728 bytes, .* can be freed"):
        await one.write(bytes(4 * MIB))
    assert one.size == 5 * MIB
    await one.write(bytes(3 * MIB))
    with pytest.raises(StoreFullError):
        await store.open_partial(SMALL.digest, SMALL.size)
    await one.discard()
    assert store.statistics().reserved_bytes == 0
    await put(store, SMALL)


async def test_an_upload_is_no_victim(world: World) -> None:
    store = await world.make(StoreSettings(quota=8 * MIB, minimum_free=0))
    one = await store.uploads.begin("s")
    await one.write(bytes(6 * MIB))
    await one.close()
    with pytest.raises(StoreFullError):
        await store.open_partial(LARGE.digest, LARGE.size)
    assert store.uploads.sessions() == ["s"]


async def test_none_is_begun_where_there_is_no_room(world: World) -> None:
    store = await world.make(StoreSettings(minimum_free=2.0))
    with pytest.raises(StoreFullError):
        await store.uploads.begin("s")
    assert store.uploads.sessions() == []


@pytest.mark.slow
async def test_cancelled_anywhere_it_goes_on_from_its_size(world: World) -> None:
    store = await world.make()
    content = blob(6 * MIB + 333, 5)
    rng = random.Random(7)
    view = memoryview(content.data)
    one = await store.uploads.begin("s")
    while one.size < content.size:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.write, view[one.size : one.size + rng.randrange(1, 3 * MIB)])
                for _ in range(rng.randrange(4)):
                    await trio.lowlevel.checkpoint()
                if rng.random() < 0.3:
                    await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        if rng.random() < 0.3:
            with trio.CancelScope() as scope:
                scope.cancel()
                await one.close()
            size = one.size
            one = await store.uploads.resume("s")
            assert one.size == size
        if rng.random() < 0.5:
            await one.write(view[one.size : one.size + rng.randrange(1, MIB)])
    for patience in itertools.count():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.finish, content.digest)
            for _ in range(1 << patience):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        if store.find(content.digest) is not None:
            break
        assert one.size == content.size
    await one.close()
    assert read(store, content) == content.data
    assert await store.midstates(content.digest) == content.midstates
    assert store.uploads.sessions() == []
    assert store.statistics().reserved_bytes == 0


async def test_it_ends_without_a_trace(tmp_path: Path) -> None:
    before = sum(1 for _ in os.scandir("/proc/self/fd"))
    store = MemoryStore(StoreSettings(minimum_free=0))
    await upload(store, SMALL)
    one = await store.uploads.begin("t")
    await one.write(SMALL.data)
    await one.close()
    await (await store.uploads.resume("t")).discard()
    store.close()
    assert sum(1 for _ in os.scandir("/proc/self/fd")) == before
