"""A disk that fails at the k-th call, for every k: what is complete is right, and nothing else is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2p.config import StoreSettings
from p2p.errors import StoreError, StoreFullError, StoreUnhealthyError
from p2p.store.disk import DiskStore
from p2p.store.files import OsFiles
from tests.support.store_rig import HASHER, MIB, blob

CONTENT = blob(2 * MIB + 9)
SETTINGS = StoreSettings(minimum_free=0)
CALLS = ("open", "create", "read", "write", "sync", "rename", "sync_directory", "unlink")


class Failing(OsFiles):
    """Fails at the ``at``-th call of those named, once or from then on; ``calls`` lists what was called."""

    def __init__(
        self,
        root: Path,
        number: int,
        at: int = 1 << 30,
        names: tuple[str, ...] = CALLS,
        *,
        lasting: bool = True,
    ) -> None:
        super().__init__(root)
        self.calls: list[str] = []
        self.count = 0
        self.failed = 0
        for name in names:
            setattr(self, name, self._wrap(name, getattr(self, name), number, at, lasting))

    def _wrap(
        self, name: str, call: Callable[..., Any], number: int, at: int, lasting: bool
    ) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            self.count += 1
            self.calls.append(name)
            if self.count == at or (lasting and self.count > at):
                self.failed += 1
                raise OSError(number, os.strerror(number))
            return call(*args)

        return wrapped


class Stingy(OsFiles):
    """Writes and reads a few bytes at a time."""

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        return super().write(fd, data[: 1 + len(data) // 3], offset)

    def read(self, fd: int, buffer: memoryview, offset: int) -> int:
        return super().read(fd, buffer[: 1 + len(buffer) // 3], offset)


async def course(store: DiskStore, errors: list[Exception]) -> bool:
    """Do everything once; True where it came to the end."""
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    try:
        if not partial.midstates.length:
            await partial.append(0, CONTENT.chunk(0))
        partial.adopt(CONTENT.midstates)
        await partial.write(1, CONTENT.chunks(1, 2))
        await partial.close()
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        for index in range(3):
            if index not in partial.have:
                await partial.write(index, CONTENT.chunk(index))
        await partial.commit()
    finally:
        try:
            await partial.close()
        except StoreError as error:
            errors.append(error)
    return True


async def attempt(root: Path, files: Any) -> tuple[bool, list[Exception]]:
    errors: list[Exception] = []
    try:
        with await DiskStore.load(root, SETTINGS, hasher=HASHER, files=files) as store:
            try:
                done = await course(store, errors)
            except StoreError as error:
                errors.append(error)
                done = False
            found = store.find(CONTENT.digest)
            assert done == (found is not None)
            unhealthy = any(isinstance(error, StoreUnhealthyError) for error in errors)
            assert store.statistics().healthy is not unhealthy
    except StoreError as error:
        return False, [error]
    return done, errors


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


async def check(root: Path) -> None:
    """Whatever happened: a healthy disk afterwards, and the same store goes on."""
    with await DiskStore.load(root, SETTINGS, hasher=HASHER) as store:
        if store.find(CONTENT.digest) is None:
            errors: list[Exception] = []
            assert await course(store, errors)
            assert errors == []
        with store.open(CONTENT.digest) as fd:
            assert os.pread(fd, CONTENT.size + 1, 0) == CONTENT.data
        assert await store.scrub_one(CONTENT.digest)
        assert await store.midstates(CONTENT.digest) == CONTENT.midstates
        assert store.partials() == []
    assert names(root) == sorted(["lock", CONTENT.digest.hex, CONTENT.digest.hex + ".midstates"])


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def calls(tmp_path: Path) -> list[str]:
    counting = Failing(tmp_path / "counting", errno.EIO)
    assert await attempt(tmp_path / "counting", counting) == (True, [])
    return counting.calls


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("lasting", [True, False], ids=["from then on", "once"])
async def test_every_call_fails_in_its_turn(tmp_path: Path, number: int, lasting: bool) -> None:
    sequence = await calls(tmp_path)
    assert set(sequence) == set(CALLS)
    before = descriptors()
    for at in range(1, len(sequence) + 1):
        root = tmp_path / str(at)
        files = Failing(root, number, at, lasting=lasting)
        done, errors = await attempt(root, files)
        assert files.failed
        assert done or errors
        for error in errors:
            assert isinstance(error, StoreError)
            assert str(error).endswith(".")
        await check(root)
        assert descriptors() == before, (at, sequence[at - 1])


async def test_a_failed_sync_discards_and_is_never_repeated(tmp_path: Path) -> None:
    for at in (1, 2):  # the list's, then the data's
        root = tmp_path / str(at)
        files = Failing(root, errno.EIO, at, ("sync",), lasting=False)
        with await DiskStore.load(root, SETTINGS, hasher=HASHER, files=files) as store:
            partial = await store.open_partial(CONTENT.digest, CONTENT.size)
            await partial.append(0, memoryview(CONTENT.data))
            with pytest.raises(StoreUnhealthyError, match="disk failed"):
                await partial.commit()
            with pytest.raises((StoreUnhealthyError, RuntimeError)):
                await partial.commit()
            await partial.close()
            assert files.count == at
            assert store.find(CONTENT.digest) is None
            with pytest.raises(StoreUnhealthyError, match="restart the node"):
                await store.open_partial(CONTENT.digest, CONTENT.size)
        assert not (root / "blobs/sha256" / CONTENT.digest.hex).exists()
        await check(root)


async def test_a_rename_that_may_not_last_is_undone(tmp_path: Path) -> None:
    files = Failing(tmp_path, errno.EIO, 1, ("sync_directory",))
    assert not (await attempt(tmp_path, files))[0]
    assert not (tmp_path / "blobs/sha256" / CONTENT.digest.hex).exists()
    await check(tmp_path)


async def test_a_full_disk_is_told_and_keeps_what_is_there(tmp_path: Path) -> None:
    files = Failing(tmp_path, errno.ENOSPC, 6, ("write",))
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER, files=files) as store:
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        assert await partial.append(0, CONTENT.chunk(0))
        assert await partial.append(1, CONTENT.chunk(1))
        with pytest.raises(StoreFullError, match="No space left"):
            await partial.append(2, CONTENT.chunk(2))
        assert list(partial.have) == [0, 1]
        assert store.statistics().healthy
        await partial.close()
        assert store.partials() == [(CONTENT.digest, CONTENT.size)]
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER) as store:
        partial = await store.open_partial(CONTENT.digest, CONTENT.size)
        assert list(partial.have) == [0, 1]
        await partial.close()


async def test_short_reads_and_writes(tmp_path: Path) -> None:
    assert await attempt(tmp_path, Stingy(tmp_path)) == (True, [])
    await check(tmp_path)


async def test_reading_goes_on_when_writing_failed(tmp_path: Path) -> None:
    assert (await attempt(tmp_path, OsFiles(tmp_path)))[0]
    files = Failing(tmp_path, errno.EIO, 1, ("write", "sync"))
    small = blob(100)
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER, files=files) as store:
        with pytest.raises(StoreUnhealthyError):
            await store.open_partial(small.digest, small.size)
        assert not store.statistics().healthy
        with store.open(CONTENT.digest) as fd:
            assert os.pread(fd, CONTENT.size, 0) == CONTENT.data
        assert await store.midstates(CONTENT.digest) == CONTENT.midstates
