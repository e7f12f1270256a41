"""Writes in threads while the list changes: what is said to be held is what lies on disk, whatever order."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.config import StoreSettings
from p2p.core.swarm.midstates import Midstates
from p2p.store.memory import MemoryFiles, MemoryStore
from tests.support.store_rig import HASHER, MIB, Blob, blob

CONTENT = blob(5 * MIB + 9)
NONE = Midstates("sha256")


def damaged(*chunks: int) -> Blob:
    """Other bytes in some chunks, with the list over them: false, and consistent in itself."""
    data = bytearray(CONTENT.data)
    for index in chunks:
        data[CONTENT.layout.offset(index)] ^= 1
    return Blob(bytes(data))


class SlowFiles(MemoryFiles):
    """Writes of ``slow`` (by its first bytes) wait in their thread until ``go``."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = b""
        self.go = threading.Event()
        self.waiting = threading.Event()

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        if self.slow and bytes(data[:64]) == self.slow[:64]:
            self.waiting.set()
            assert self.go.wait(10)
        return super().write(fd, data, offset)


@asynccontextmanager
async def growing(files: MemoryFiles | None = None) -> AsyncIterator[Any]:
    store = MemoryStore(StoreSettings(minimum_free=0), files=files, hasher=HASHER)
    await store.recover()
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    yield partial
    await partial.close()
    store.close()


def check(partial: Any, *, lists: tuple[Blob, ...] = (CONTENT,)) -> None:
    """Whatever is held is on disk, and holds under the adopted list."""
    for index in partial.have:
        on_disk = os.pread(partial.fd, partial.layout.length(index), partial.layout.offset(index))
        link = partial._chain.link(partial.midstates, index)
        assert link is not None, f"chunk {index} is held, and has no link"
        assert partial._chain.holds(link, memoryview(on_disk)), f"chunk {index} is held, and is wrong on disk"


async def waiting(files: SlowFiles) -> None:
    await trio.to_thread.run_sync(files.waiting.wait, 10)


async def test_a_relink_while_a_chunk_of_the_old_list_is_written() -> None:
    files, evil = SlowFiles(), damaged(2)
    files.slow = bytes(evil.chunk(2))
    async with growing(files) as partial:
        partial.adopt(evil.midstates)
        assert all(await partial.write(0, CONTENT.chunks(0, 2)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial.write, 2, evil.chunk(2))
            await waiting(files)
            nursery.start_soon(partial.relink, CONTENT.midstates)
            await wait_all_tasks_blocked()
            files.go.set()
        # What holds under both is kept, what was being written is not.
        assert list(partial.have) == [0, 1]
        check(partial)
        assert all(await partial.write(2, CONTENT.chunks(2, 4)))
        check(partial)
        await partial.commit()


async def test_a_write_under_the_new_list_waits_for_one_under_the_old() -> None:
    """Else the old one, still in its thread, would write its bytes over those that hold."""
    files, evil = SlowFiles(), damaged(3)
    files.slow = bytes(evil.chunk(3))
    async with growing(files) as partial:
        assert await partial.append(0, CONTENT.chunks(0, 2))
        appended: list[bool] = []
        async with trio.open_nursery() as nursery:
            partial.adopt(evil.midstates)
            nursery.start_soon(partial.write, 3, evil.chunk(3))
            await waiting(files)
            # The origin's stream says otherwise than the list that peers had extended.
            partial._switch(CONTENT.midstates.prefix(3))

            async def stream() -> None:
                appended.append(await partial.append(3, CONTENT.chunk(3)))

            nursery.start_soon(stream)
            await wait_all_tasks_blocked()
            files.go.set()
        assert appended == [True]
        assert 3 in partial.have
        check(partial)


async def test_two_writes_of_one_chunk() -> None:
    files = SlowFiles()
    files.slow = bytes(CONTENT.chunk(1))
    async with growing(files) as partial:
        partial.adopt(CONTENT.midstates)
        answers: list[Any] = []

        async def write() -> None:
            answers.append(await partial.write(1, CONTENT.chunks(1, 2)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await waiting(files)
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            files.go.set()
        assert [list(answer) for answer in answers] == [[True, True]] * 2
        check(partial)


async def test_one_that_waits_for_a_chunk_can_be_cancelled() -> None:
    files = SlowFiles()
    files.slow = bytes(CONTENT.chunk(1))
    async with growing(files) as partial:
        partial.adopt(CONTENT.midstates)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial.write, 1, CONTENT.chunk(1))
            await waiting(files)
            with trio.move_on_after(0) as scope:
                await partial.write(1, CONTENT.chunk(1))
            assert scope.cancelled_caught
            files.go.set()
        assert all(await partial.write(1, CONTENT.chunk(1)))
        check(partial)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_any_interleaving(seed: int) -> None:
    """Writers of right and wrong chunks, a stream, and lists that come and go, in any order."""
    rng = random.Random(seed)
    worlds = [CONTENT, damaged(1), damaged(2, 4), damaged(5)]
    async with growing() as partial:

        async def write() -> None:
            one = rng.choice(worlds)
            first = rng.randrange(6)
            count = rng.randrange(1, 7 - first)
            try:
                await partial.write(first, one.chunks(first, count))
            except ValueError:
                return  # the list does not reach so far

        async def relink() -> None:
            one = rng.choice(worlds)
            await partial.relink(one.midstates.prefix(rng.randrange(6)))

        async def adopt() -> None:
            try:
                partial.adopt(rng.choice(worlds).midstates.prefix(rng.randrange(6)))
            except ValueError:
                return  # it contradicts the adopted one

        for _ in range(12):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(rng.choice([write, write, write, relink, adopt]))
            check(partial)
        await partial.relink(CONTENT.midstates)
        check(partial)
        assert all(await partial.write(0, CONTENT.chunks(0, 6)))
        check(partial)
        await partial.commit()
