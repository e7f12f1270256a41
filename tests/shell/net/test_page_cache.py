from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from p2p.net.page_cache import STRIDE, send_cold, warm_bytes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(STRIDE * 4 + 5))
    return path


def test_a_file_just_written_is_warm(path: Path) -> None:
    with path.open("rb") as file:
        size = path.stat().st_size
        for offset, length in ((0, size), (1, size - 1), (size - 1, 1), (5, 0), (STRIDE, STRIDE)):
            assert warm_bytes(file.fileno(), offset, length) == length


def test_memory_files_are_warm() -> None:
    fd = os.memfd_create("data")
    try:
        os.write(fd, b"x" * 100)
        assert warm_bytes(fd, 0, 100) == 100
    finally:
        os.close(fd)


def test_a_dropped_file_is_cold(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        warm = warm_bytes(file.fileno(), 0, STRIDE)
        # 0 on a disk; filesystems that keep everything in memory, or can't tell, stay warm.
        assert warm in (0, STRIDE)
        os.pread(file.fileno(), STRIDE, 0)
        assert warm_bytes(file.fileno(), 0, STRIDE) == STRIDE


def test_a_bad_descriptor_is_an_error() -> None:
    with pytest.raises(OSError, match="descriptor"):
        warm_bytes(-1, 0, 1)


def test_sending_cold(path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as file:
        ours.setblocking(False)
        assert send_cold(ours.fileno(), file.fileno(), 3, 100) == 100
        assert theirs.recv(200) == path.read_bytes()[3:103]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        assert send_cold(ours.fileno(), file.fileno(), 0, STRIDE * 4) < STRIDE * 4
        with pytest.raises(BlockingIOError):
            send_cold(ours.fileno(), file.fileno(), 0, STRIDE)
