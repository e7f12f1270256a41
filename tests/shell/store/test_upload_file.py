from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from p2p.core.swarm.midstates import Midstates
from p2p.errors import StoreUnhealthyError
from p2p.store.files import OsFiles
from p2p.store.paths import MIDSTATES, PIN, Paths
from p2p.store.running import CELL, RunningHash
from p2p.store.scan import scan
from p2p.store.upload_file import UploadFile
from tests.support.store_rig import HASHER, MIB, blob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = blob(2 * MIB + 9)
BODY, TAIL = memoryview(CONTENT.data)[: 2 * MIB], memoryview(CONTENT.data)[2 * MIB :]


class Broken(OsFiles):
    """One call fails; a write after half of its bytes."""

    broken = ""

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        if self.broken == "write":
            if len(data) > 1 << 16:
                return super().write(fd, data[: len(data) // 2], offset)
            self._fail()
        return super().write(fd, data, offset)

    def rename(self, old: Path, new: Path) -> None:
        if self.broken == "rename":
            self._fail()
        super().rename(old, new)

    def sync(self, fd: int) -> None:
        if self.broken == "sync":
            self._fail()
        super().sync(fd)

    def sync_directory(self, path: Path) -> None:
        if self.broken == "sync_directory":
            self._fail()
        super().sync_directory(path)

    def _fail(self) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    scan(OsFiles(tmp_path), paths)
    return paths


@pytest.fixture
def files(tmp_path: Path) -> Broken:
    return Broken(tmp_path)


@pytest.fixture
def begin(files: Broken, paths: Paths) -> Callable[[], UploadFile]:
    def make() -> UploadFile:
        return UploadFile(files, paths, paths.upload("sha256", "s"), RunningHash(HASHER, "sha256"), 0)

    return make


def content_of(paths: Paths) -> bytes:
    return paths.upload("sha256", "s").read_bytes()


def test_cells_and_a_tail_become_a_blob(begin: Callable[[], UploadFile], paths: Paths) -> None:
    file = begin()
    file.take(BODY)
    file.seal(TAIL, CONTENT.digest, CONTENT.midstates, pin=True, leftovers=[])
    assert file.gone
    file.close()
    file.close()
    assert paths.blob(CONTENT.digest).read_bytes() == CONTENT.data
    assert paths.blob(CONTENT.digest, MIDSTATES).exists()
    assert paths.blob(CONTENT.digest, PIN).exists()
    assert not paths.upload("sha256", "s").exists()


def test_a_write_that_failed_half_way_is_cut_off(
    begin: Callable[[], UploadFile], files: Broken, paths: Paths
) -> None:
    file = begin()
    file.take(BODY[:CELL])
    files.broken = "write"
    with pytest.raises(OSError, match="Input/output"):
        file.take(BODY[CELL:])
    files.broken = ""
    assert file.running.length == CELL
    assert len(content_of(paths)) > CELL
    file.keep(memoryview(b"abc"))
    assert (file.tail, file.end) == (3, CELL + 3)
    assert content_of(paths) == bytes(BODY[:CELL]) + b"abc"
    file.close()


@pytest.mark.parametrize("call", ["sync", "sync_directory"])
def test_a_failed_sync_leaves_nothing(
    begin: Callable[[], UploadFile], files: Broken, paths: Paths, call: str
) -> None:
    file = begin()
    file.take(BODY)
    files.broken = call
    with pytest.raises(StoreUnhealthyError, match="discarded"):
        # Without a list, whose own sync would come first.
        file.seal(TAIL, CONTENT.digest, Midstates("sha256"), pin=True, leftovers=[])
    assert file.gone
    file.close()
    assert [path for path in paths.root.rglob("*") if path.is_file()] == []


def test_a_failed_rename_keeps_the_upload_and_no_pin(
    begin: Callable[[], UploadFile], files: Broken, paths: Paths
) -> None:
    file = begin()
    file.take(BODY)
    files.broken = "rename"
    with pytest.raises(OSError, match="Input/output"):
        file.seal(TAIL, CONTENT.digest, CONTENT.midstates, pin=True, leftovers=[])
    assert not file.gone
    assert content_of(paths) == CONTENT.data
    assert not paths.blob(CONTENT.digest, PIN).exists()
    file.delete()
    file.close()


def test_what_is_left_over_goes(begin: Callable[[], UploadFile], paths: Paths, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.touch()
    file = begin()
    file.seal(memoryview(b""), blob(0).digest, Midstates("sha256"), pin=False, leftovers=[old])
    file.close()
    assert not old.exists()


@pytest.mark.parametrize("length", [0, 5, CELL, CELL + 5, len(CONTENT.data)])
def test_restoring_takes_the_file_as_far_as_it_goes(files: Broken, paths: Paths, length: int) -> None:
    path = paths.upload("sha256", "s")
    path.write_bytes(CONTENT.data[:length])
    file = UploadFile.found(files, paths, path, RunningHash(HASHER, "sha256"))
    buffer = memoryview(bytearray(CELL))
    hops = 1
    while not file.restore(buffer, 1):
        hops += 1
    assert hops == length // CELL + 1
    assert file.running.length + file.tail == file.end == length
    assert file.running.digest(buffer[: file.tail]) == blob(length).digest.raw
    file.close()
