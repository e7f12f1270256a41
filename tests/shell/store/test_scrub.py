from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.store import sidecar
from p2p.store.chain import Chain
from p2p.store.memory import MemoryFiles
from p2p.store.paths import MIDSTATES, Paths
from p2p.store.scrub import rehash, scrub, verified
from p2p.store.workers import Workers
from tests.support.store_rig import HASHER, MIB, UNLINKED, blob

if TYPE_CHECKING:
    from trio.testing import MockClock

CONTENT = blob(2 * MIB + 5)


@pytest.mark.parametrize("hasher", [HASHER, UNLINKED])
@pytest.mark.parametrize("cold", [True, False])
async def test_right_wrong_and_cut(hasher: object, cold: bool) -> None:
    files = MemoryFiles()
    fd = files.create(Path("/a"), CONTENT.size)
    chain = Chain(CONTENT.digest, CONTENT.layout, hasher)  # type: ignore[arg-type]  # either of the two
    os.pwrite(fd, CONTENT.data, 0)
    found = await rehash(Workers(), files, chain, fd, cold=cold)
    assert found.holds
    assert found.states == (CONTENT.midstates.states if hasher is HASHER else b"")
    os.pwrite(fd, b"\xff\xff", MIB)
    assert not (await rehash(Workers(), files, chain, fd, cold=cold)).holds
    os.pwrite(fd, CONTENT.data, 0)
    os.ftruncate(fd, CONTENT.size - 1)
    assert not (await rehash(Workers(), files, chain, fd, cold=cold)).holds
    os.close(fd)
    files.close()


async def test_what_holds_is_marked_and_a_lost_list_is_found_again() -> None:
    root = Path("/s")
    files, paths = MemoryFiles(), Paths(root)
    small = blob(10)
    for content in (CONTENT, small):
        path = paths.blob(content.digest, MIDSTATES)
        fd = files.create(paths.blob(content.digest), content.size)
        os.pwrite(fd, content.data, 0)
        chain = Chain(content.digest, content.layout, HASHER)
        assert content.digest not in verified(files, paths)
        assert await scrub(Workers(), files, chain, fd, path, 1.0, lambda: True)
        first = verified(files, paths)[content.digest]
        assert sidecar.read(files, path, "sha256", content.layout) == content.midstates
        assert await scrub(Workers(), files, chain, fd, path, 1.0, lambda: True)
        second = verified(files, paths)[content.digest]
        assert second > first
        os.pwrite(fd, b"\xff", 3)
        assert not await scrub(Workers(), files, chain, fd, path, 1.0, lambda: True)
        assert verified(files, paths)[content.digest] == second
        os.close(fd)
    files.close()


async def test_it_takes_its_share_of_the_time(autojump_clock: MockClock) -> None:
    class Slow(MemoryFiles):
        def read(self, fd: int, buffer: memoryview, offset: int) -> int:
            autojump_clock.jump(1.0)
            return super().read(fd, buffer, offset)

    files = Slow()
    fd = files.create(Path("/a"), CONTENT.size)
    os.pwrite(fd, CONTENT.data, 0)
    chain = Chain(CONTENT.digest, CONTENT.layout, HASHER)
    start = trio.current_time()
    found = await rehash(Workers(), files, chain, fd, cold=True, share=0.25)
    assert found.holds
    assert trio.current_time() - start == pytest.approx(12.0)
    os.close(fd)
    files.close()


async def test_one_that_went_meanwhile_gets_no_mark() -> None:
    files, paths = MemoryFiles(), Paths(Path("/s"))
    fd = files.create(Path("/a"), CONTENT.size)
    os.pwrite(fd, CONTENT.data, 0)
    chain = Chain(CONTENT.digest, CONTENT.layout, HASHER)
    path = paths.blob(CONTENT.digest, MIDSTATES)
    assert await scrub(Workers(), files, chain, fd, path, 1.0, lambda: False)
    assert verified(files, paths) == {}
    os.close(fd)
    files.close()
