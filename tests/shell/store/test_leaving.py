from __future__ import annotations

import errno
import threading

import pytest
import trio
import trio.testing

from p2p.core.oci.digest import Digest
from p2p.errors import StoreUnhealthyError
from p2p.store.leaving import Leaving
from p2p.store.workers import Workers

DIGEST = Digest.of(b"x")


async def test_whoever_wants_it_anew_waits_until_it_is_gone() -> None:
    leaving = Leaving(Workers())
    release = threading.Event()
    order = []

    async def wait() -> None:
        await leaving.settled(DIGEST)
        order.append("settled")

    await leaving.settled(DIGEST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaving.run, [DIGEST], 7, lambda: order.append("gone" if release.wait(30) else ""))
        await trio.testing.wait_all_tasks_blocked()
        assert leaving.freeing == 7
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
    assert order == ["gone", "settled"]
    assert leaving.freeing == 0


async def test_a_deletion_that_fails_lets_others_on() -> None:
    leaving = Leaving(Workers())

    def fail() -> None:
        raise OSError(errno.EIO, "as told")

    with pytest.raises(StoreUnhealthyError, match=str(DIGEST)):
        await leaving.run([DIGEST], 7, fail)
    with pytest.raises(StoreUnhealthyError, match="quarantine"):
        await leaving.run([], 7, fail)
    await leaving.settled(DIGEST)
    assert leaving.freeing == 0


async def test_a_deletion_is_done_though_the_caller_is_cancelled() -> None:
    leaving = Leaving(Workers())
    done = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await leaving.run([DIGEST], 7, lambda: done.append(True))
    assert done == [True]


async def test_who_moves_files_is_alone_with_them() -> None:
    leaving = Leaving(Workers())
    order: list[str] = []
    go_on = trio.Event()

    async def move(name: str) -> None:
        async with leaving.moving(DIGEST):
            order.append(f"{name} in")
            await go_on.wait()
            order.append(f"{name} out")

    assert not leaving.busy(DIGEST)
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(move, name)
        await trio.testing.wait_all_tasks_blocked()
        assert len(order) == 1
        assert leaving.busy(DIGEST)
        assert not leaving.busy(Digest.of(b"y"))
        go_on.set()
    assert [text[2:] for text in order] == ["in", "out"] * 3
    assert not leaving.busy(DIGEST)


async def test_a_move_that_fails_lets_others_on() -> None:
    leaving = Leaving(Workers())
    with pytest.raises(ZeroDivisionError):
        async with leaving.moving(DIGEST):
            raise ZeroDivisionError
    await leaving.settled(DIGEST)


async def test_what_stays_is_chosen_for_no_eviction() -> None:
    leaving = Leaving(Workers())
    digest = Digest.of(b"some")
    with leaving.staying(digest):
        with leaving.staying(digest):
            assert leaving.busy(digest)
        assert leaving.busy(digest)
        await leaving.settled(digest)  # nobody moves it
    assert not leaving.busy(digest)
    assert not leaving._held
