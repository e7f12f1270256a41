from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2p.store.chain import Chain
from p2p.store.memory import MemoryFiles
from p2p.store.scrub import rehash
from p2p.store.workers import Workers
from tests.support.store_rig import HASHER, MIB, UNLINKED, blob

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
