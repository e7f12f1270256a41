"""A file lent to a thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

from p2p.content.lent import LentFile
from tests.support.content_suite import file_of


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_thread_has_a_descriptor_of_its_own() -> None:
    with file_of(b"hello") as fd:
        lent = LentFile(fd)
    seen: list[bytes] = []
    await lent.work(lambda one: seen.append(os.pread(one.check(), 5, 0)), trio.CapacityLimiter(1))
    assert seen == [b"hello"]


async def test_who_leaves_stops_it_and_nothing_stays_open() -> None:
    before = descriptors()
    began, go, ended = trio.Event(), threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    raised: list[BaseException] = []

    def call(lent: LentFile) -> None:
        token.run_sync_soon(began.set)
        go.wait(10)
        try:
            lent.check()
        except InterruptedError as error:
            raised.append(error)
        finally:
            token.run_sync_soon(ended.set)

    with file_of(b"hello") as fd:
        lent = LentFile(fd)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lent.work, call, trio.CapacityLimiter(1))
            await began.wait()
            nursery.cancel_scope.cancel()
    go.set()
    await ended.wait()
    assert raised
    while descriptors() != before:
        await trio.lowlevel.checkpoint()


async def test_cancelled_before_there_is_a_thread() -> None:
    before = descriptors()
    limiter = trio.CapacityLimiter(1)
    with file_of(b"hello") as fd, trio.CancelScope() as scope:
        scope.cancel()
        await LentFile(fd).work(lambda _: pytest.fail("began"), limiter)
    assert descriptors() == before
