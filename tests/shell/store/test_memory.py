from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2p.config import StoreSettings
from p2p.errors import StoreFullError
from p2p.store.memory import MemoryFiles, MemoryStore
from tests.support.store_rig import MIB, blob, put

A, B = Path("/x/a"), Path("/x/b")


def test_files_by_name() -> None:
    files = MemoryFiles()
    fd = files.create(A, 4)
    files.write(fd, memoryview(b"abcd"), 0)
    files.rename(A, B)
    with pytest.raises(FileNotFoundError):
        files.open(A)
    again = files.open(B)
    files.unlink(B)
    files.unlink(B)
    assert os.pread(again, 9, 0) == b"abcd"
    os.close(again)
    os.close(fd)
    assert files.entries(Path("/x")) == []


def test_renaming_replaces() -> None:
    files = MemoryFiles()
    for path, size in ((A, 1), (B, 2)):
        os.close(files.create(path, size))
    files.rename(A, B)
    assert [(e.name, e.size) for e in files.entries(Path("/x"))] == [("b", 1)]
    files.close()


def test_space_shrinks_by_what_is_written() -> None:
    files = MemoryFiles(capacity=MIB)
    fd = files.create(A, MIB)
    assert files.space().free == MIB
    files.write(fd, memoryview(bytes(4096)), 0)
    assert files.space().free == MIB - 4096
    os.close(fd)
    files.close()


async def test_it_needs_nothing_and_ends_without_a_trace() -> None:
    before = sum(1 for _ in os.scandir("/proc/self/fd"))
    store = MemoryStore()
    content = blob(100)
    await put(store, content)
    with store.open(content.digest) as fd:
        assert os.pread(fd, 101, 0) == content.data
    store.close()
    assert sum(1 for _ in os.scandir("/proc/self/fd")) == before


async def test_a_small_memory_is_a_full_disk() -> None:
    store = MemoryStore(StoreSettings(minimum_free=0.5), files=MemoryFiles(capacity=2 * MIB))
    await put(store, blob(MIB))
    await put(store, blob(MIB, seed=1))
    assert store.statistics().evicted == 1
    with pytest.raises(StoreFullError):
        await store.open_partial(blob(MIB + 1).digest, MIB + 1)
    store.close()
