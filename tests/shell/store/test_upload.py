"""An upload on a disk that fails: what is complete is right, nothing else is lost, and the rest is told."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.config import StoreSettings
from p2p.core.oci.digest import Digest
from p2p.errors import StoreError, StoreFullError, StoreUnhealthyError, VerificationError
from p2p.store.disk import DiskStore
from tests.shell.store.test_faults import CALLS, Failing, Stingy, descriptors, names
from tests.support.store_rig import HASHER, MIB, blob

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.store.api import Upload
    from p2p.store.files import OsFiles

CONTENT = blob(2 * MIB + 9)
SETTINGS = StoreSettings(minimum_free=0)
VIEW = memoryview(CONTENT.data)


async def load(root: Path, files: OsFiles | None = None) -> DiskStore:
    return await DiskStore.load(root, SETTINGS, hasher=HASHER, files=files)


async def course(store: DiskStore, errors: list[Exception]) -> bool:
    """Upload in two parts with a pause between, and pin it; True where it came to the end."""
    if "s" in store.uploads.sessions():
        upload = await store.uploads.resume("s")
    else:
        upload = await store.uploads.begin("s")
    try:
        if upload.size < MIB + 5:
            await upload.write(VIEW[upload.size : MIB + 5])
        await upload.close()
        upload = await store.uploads.resume("s")
        await upload.write(VIEW[upload.size :])
        await upload.finish(CONTENT.digest, pin=True)
    finally:
        try:
            await upload.close()
        except StoreError as error:
            errors.append(error)
    return True


async def attempt(root: Path, files: Any) -> tuple[bool, list[Exception]]:
    errors: list[Exception] = []
    try:
        with await load(root, files) as store:
            try:
                done = await course(store, errors)
            except StoreError as error:
                errors.append(error)
                done = False
            found = store.find(CONTENT.digest)
            assert done == (found is not None)
            assert found is None or found.pinned
            unhealthy = any(isinstance(error, StoreUnhealthyError) for error in errors)
            assert store.statistics().healthy is not unhealthy
            assert done or found is None
    except StoreError as error:
        return False, [error]
    return done, errors


async def check(root: Path) -> None:
    """Whatever happened: a healthy disk afterwards, and the same upload goes on."""
    with await load(root) as store:
        assert len(store.uploads.sessions()) <= 1
        if store.find(CONTENT.digest) is None:
            assert await course(store, [])
        for session in store.uploads.sessions():
            await store.uploads.drop(session)
        with store.open(CONTENT.digest) as fd:
            assert os.pread(fd, CONTENT.size + 1, 0) == CONTENT.data
        assert await store.scrub_one(CONTENT.digest)
        assert await store.midstates(CONTENT.digest) == CONTENT.midstates
        assert store.statistics().reserved_bytes == 0
    assert names(root) == sorted(["lock", *(CONTENT.digest.hex + s for s in ("", ".midstates", ".pin"))])


async def test_it_works_where_nothing_fails(tmp_path: Path) -> None:
    assert await attempt(tmp_path, Stingy(tmp_path)) == (True, [])
    await check(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("lasting", [True, False], ids=["from then on", "once"])
async def test_every_call_fails_in_its_turn(tmp_path: Path, number: int, lasting: bool) -> None:
    counting = Failing(tmp_path / "counting", errno.EIO)
    assert await attempt(tmp_path / "counting", counting) == (True, [])
    assert set(counting.calls) == set(CALLS) - {"unlink"}
    before = descriptors()
    for at in range(1, len(counting.calls) + 1):
        root = tmp_path / str(at)
        files = Failing(root, number, at, lasting=lasting)
        done, errors = await attempt(root, files)
        assert files.failed
        assert done or errors
        for error in errors:
            assert isinstance(error, StoreError)
            assert str(error).endswith(".")
        await check(root)
        assert descriptors() == before, (at, counting.calls[at - 1])


class Stopped(BaseException):
    """The process is killed here."""


class Mortal(Failing):
    """Is killed at the ``at``-th call: nothing after it reaches the disk."""

    def _wrap(self, name: str, call: Any, number: int, at: int, lasting: bool) -> Any:
        def wrapped(*args: Any) -> Any:
            self.count += 1
            self.calls.append(name)
            if self.count >= at:
                raise Stopped
            return call(*args)

        return wrapped


@pytest.mark.slow
async def test_killed_before_every_call_it_goes_on(tmp_path: Path) -> None:
    counting = Failing(tmp_path / "counting", errno.EIO)
    assert await attempt(tmp_path / "counting", counting) == (True, [])
    for at in range(1, len(counting.calls) + 1):
        root = tmp_path / str(at)
        try:
            await attempt(root, Mortal(root, 0, at))
        except Stopped:
            pass
        else:
            raise AssertionError(counting.calls[at - 1])
        with await load(root) as store:
            for session in store.uploads.sessions():
                upload = await store.uploads.resume(session)
                await upload.close()
                kept = (root / "uploads/sha256" / session).read_bytes()
                assert kept == CONTENT.data[: upload.size]
        await check(root)


@pytest.mark.parametrize("call", ["sync", "sync_directory"])
async def test_a_failed_sync_discards_and_is_never_repeated(tmp_path: Path, call: str) -> None:
    content = blob(1000)
    files = Failing(tmp_path, errno.EIO, 1, (call,), lasting=False)
    with await load(tmp_path, files) as store:
        upload = await store.uploads.begin("s")
        await upload.write(content.data)
        with pytest.raises(StoreUnhealthyError, match="failed to sync"):
            await upload.finish(content.digest, pin=True)
        assert files.count == 1
        with pytest.raises(StoreUnhealthyError, match="nothing is written"):
            await upload.finish(content.digest)
        await upload.close()
        assert store.uploads.sessions() == []
        assert store.find(content.digest) is None
        assert not store.statistics().healthy
        with pytest.raises(StoreUnhealthyError, match="restart the node"):
            await store.uploads.begin("t")
    assert names(tmp_path) == ["lock"]


async def test_a_full_disk_is_told_and_keeps_what_is_there(tmp_path: Path) -> None:
    files = Failing(tmp_path, errno.ENOSPC, 2, ("write",), lasting=False)
    with await load(tmp_path, files) as store:
        upload = await store.uploads.begin("s")
        await upload.write(VIEW[: MIB + 7])
        assert upload.size == MIB + 7
        with pytest.raises(StoreFullError, match="No space left"):
            await upload.write(VIEW[MIB + 7 :])
        # What was only in memory can't be promised any more.
        assert upload.size == MIB
        assert store.statistics().healthy
        await upload.write(VIEW[MIB:])
        await upload.finish(CONTENT.digest)
    with await load(tmp_path) as store:
        assert await store.scrub_one(CONTENT.digest)


async def test_what_is_gathered_is_lost_with_the_disk_and_told(tmp_path: Path) -> None:
    files = Failing(tmp_path, errno.EIO, 2, ("write",))
    with await load(tmp_path, files) as store:
        upload = await store.uploads.begin("s")
        await upload.write(VIEW[: MIB + 7])
        other = await store.uploads.begin("t")
        await other.write(b"abc")
        with pytest.raises(StoreUnhealthyError, match="disk failed"):
            await upload.close()
        assert upload.size == MIB
        with pytest.raises(StoreUnhealthyError, match="nothing is written"):
            await other.close()
        assert other.size == 0
    with await load(tmp_path) as store:
        assert sorted(store.uploads.sessions()) == ["s", "t"]
        assert (await store.uploads.resume("s")).size == MIB
        assert (await store.uploads.resume("t")).size == 0


async def test_no_write_is_larger_than_a_blob_may_be(tmp_path: Path) -> None:
    with await load(tmp_path) as store:
        upload = await store.uploads.begin("s")
        upload._file.running.length = 1 << 44
        with pytest.raises(StoreFullError, match="No blob may"):
            await upload.write(b"x")
        upload._file.running.length = 0
        await upload.finish(Digest.of(b""))


async def test_two_writers_of_one_upload_take_turns(tmp_path: Path) -> None:
    one, other = blob(2 * MIB + 7, seed=1).data, blob(2 * MIB + 11, seed=2).data
    with await load(tmp_path) as store:
        upload = await store.uploads.begin("s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.write, one)
            nursery.start_soon(upload.write, other)
        orders = {Digest.of(one + other), Digest.of(other + one)}
        wrong = [digest for digest in orders if not await ends_as(upload, digest)]
        assert len(wrong) < len(orders)


async def ends_as(upload: Upload, digest: Digest) -> bool:
    try:
        await upload.finish(digest)
    except (VerificationError, RuntimeError):  # the other way round, or ended already
        return False
    return True
