from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from p2p.errors import StoreError, StoreFullError, StoreUnhealthyError
from p2p.store.files import OsFiles, fault, read_all, synced, write_all

if TYPE_CHECKING:
    from pathlib import Path


def test_creating_sets_the_length_and_keeps_the_bytes(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    path = tmp_path / "a"
    fd = files.create(path, 10)
    write_all(files, fd, memoryview(b"abcdef"), 2)
    os.close(fd)
    fd = files.create(path, 5)
    buffer = bytearray(5)
    read_all(files, fd, memoryview(buffer), 0)
    assert buffer == b"\0\0abc"
    with pytest.raises(OSError, match="shorter"):
        read_all(files, fd, memoryview(bytearray(6)), 0)
    os.close(fd)
    assert path.stat().st_mode & 0o007 == 0


def test_links_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="symbolic"):
        files.open(tmp_path / "link")
    with pytest.raises(OSError, match="symbolic"):
        files.create(tmp_path / "link", 0)
    assert [entry.name for entry in files.entries(tmp_path)] == ["target"]


def test_a_directory_is_made_when_listed(tmp_path: Path) -> None:
    assert OsFiles(tmp_path).entries(tmp_path / "a/b") == []
    assert (tmp_path / "a/b").is_dir()


def test_sparse_files_occupy_less(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    os.close(files.create(tmp_path / "a", 1 << 20))
    [entry] = files.entries(tmp_path)
    assert (entry.size, entry.occupied) == (1 << 20, 0)


def test_unlinking_what_is_gone_is_fine(tmp_path: Path) -> None:
    OsFiles(tmp_path).unlink(tmp_path / "a")


def test_space_and_touch(tmp_path: Path) -> None:
    files = OsFiles(tmp_path)
    space = files.space()
    assert 0 <= space.free <= space.total
    path = tmp_path / "a"
    path.touch()
    os.utime(path, (0, 0))
    fd = files.open(path)
    files.touch(fd)
    os.close(fd)
    assert path.stat().st_mtime > 0


def test_a_write_that_takes_nothing_is_a_fault(tmp_path: Path) -> None:
    class Stuck(OsFiles):
        def write(self, fd: int, data: memoryview, offset: int) -> int:
            return 0

    with pytest.raises(OSError, match="no byte"):
        write_all(Stuck(tmp_path), -1, memoryview(b"x"), 0)


def test_a_failed_sync_is_tried_once_and_takes_what_was_made(tmp_path: Path) -> None:
    made = [tmp_path / name for name in "ab"]
    made[0].touch()
    calls = []

    def sync() -> None:
        calls.append(1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(StoreUnhealthyError, match="failed to sync") as caught:
        synced(OsFiles(tmp_path), "it", sync, made)
    assert caught.value.subject == "it"
    assert calls == [1]
    assert not made[0].exists()
    made[0].touch()
    synced(OsFiles(tmp_path), "it", lambda: None, made)
    assert made[0].exists()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFullError),
        (errno.EDQUOT, StoreFullError),
        (errno.EIO, StoreUnhealthyError),
        (errno.EROFS, StoreUnhealthyError),
        (errno.EMFILE, StoreError),
        (errno.EACCES, StoreError),
    ],
)
def test_errors_are_told_apart(number: int, kind: type[StoreError]) -> None:
    error = fault("sha256:abc", OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert os.strerror(number) in str(error)
    assert error.mend
