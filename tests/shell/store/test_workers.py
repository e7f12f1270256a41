from __future__ import annotations

import errno
import threading

import pytest
import trio
import trio.testing

from p2p.errors import StoreError, StoreFullError, StoreUnhealthyError
from p2p.store.workers import Workers


def fail(number: int) -> None:
    raise OSError(number, "as told")


async def test_results_come_back_from_another_thread() -> None:
    workers = Workers()
    assert await workers.hash("it", threading.get_ident) != threading.get_ident()
    assert await workers.disk("it", max, 1, 2) == 2
    assert await workers.disk("it", sorted, [1, 2], reverse=True) == [2, 1]
    workers.check("it")


async def test_a_failed_disk_is_remembered() -> None:
    workers = Workers()
    with pytest.raises(StoreFullError, match="it: can't be written"):
        await workers.disk("it", fail, errno.ENOSPC)
    with pytest.raises(StoreError, match="ulimit"):
        await workers.hash("it", fail, errno.EMFILE)
    assert workers.healthy
    workers.check("it")
    with pytest.raises(StoreUnhealthyError, match="dmesg"):
        await workers.disk("it", fail, errno.EIO)
    assert not workers.healthy
    with pytest.raises(StoreUnhealthyError, match="that: nothing is written"):
        workers.check("that")


async def test_a_fault_that_is_mapped_already_counts_too() -> None:
    workers = Workers()

    def sync() -> None:
        raise StoreUnhealthyError("it", "failed to sync")

    with pytest.raises(StoreUnhealthyError, match="failed to sync"):
        await workers.disk("it", sync)
    assert not workers.healthy


async def test_a_cancelled_call_ends_with_its_thread() -> None:
    workers = Workers()
    release = threading.Event()
    results = []
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                results.append(await workers.hash("it", release.wait, 30))

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            release.set()
    assert results == [True]
