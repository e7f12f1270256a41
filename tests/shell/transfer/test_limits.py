"""Limits over a clock of the tests' own: rates, shares, turns, and what a client lifts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.config import LimitSettings
from p2p.core.swarm.settings import SwarmSettings
from p2p.transfer.limits import ALONE, LEAST_STEP, MOST_SENT, PREFETCH_TURNS, Clock, Limiter, Limits

if TYPE_CHECKING:
    from p2p.transfer.limits import Pacer

RATE = 1_000_000
MB = 1_000_000


def ignore(_: bool) -> None:
    """Hear nothing."""


async def take_all(limiter: Limiter, key: str, size: int, ends: dict[str, float]) -> None:
    for start in range(0, size, limiter.step):
        await limiter.take(key, min(limiter.step, size - start))
    ends[key] = trio.current_time()


async def test_takers_get_the_rate_together_and_the_same_share(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter, ends = Limiter(RATE), dict[str, float]()
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for key in ("a", "b", "c", "c", "c"):
            nursery.start_soon(take_all, limiter, key, MB, ends)
    assert trio.current_time() - begin == pytest.approx((5 * MB - 0.25 * RATE) / RATE, rel=0.01)
    # Whoever came first had the burst for itself; from then on each key got a third.
    assert min(ends["a"], ends["b"]) - begin > 3 * 0.75 - 0.1
    assert max(ends["a"], ends["b"]) - begin < 3 + 0.1
    assert limiter.waited > 10


async def test_no_wait_is_counted_where_nobody_waits(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter(RATE)
    await limiter.take("a", 1000)
    assert limiter.take_nowait(1000)
    assert limiter.waited == 0.0


async def test_a_small_request_overtakes_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    limiter, ends = Limiter(RATE), dict[str, float]()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(take_all, limiter, "layer", MB, ends)
        await trio.sleep(1)
        begin = trio.current_time()
        await limiter.take("manifest", 1000)
        assert trio.current_time() - begin < 0.2
        nursery.cancel_scope.cancel()


async def test_who_is_cancelled_took_nothing(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter(RATE)
    await limiter.take("a", 250_000)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(limiter.take, "a", 200_000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    begin = trio.current_time()
    await limiter.take("b", 100_000)
    assert trio.current_time() - begin == pytest.approx(0.1)


def test_steps() -> None:
    assert Limiter(64 * 1024).step == LEAST_STEP
    assert Limits(LimitSettings(up=10**9)).up.step == MOST_SENT  # type: ignore[union-attr]
    assert Limits(LimitSettings(down=4_000_000)).run == 2_000_000
    assert Limits(LimitSettings(down=10**9)).run == Limits(LimitSettings()).run == SwarmSettings().run


def test_nothing_is_made_where_nothing_is_limited() -> None:
    limits = Limits(LimitSettings(up=RATE))
    assert limits.pacer("a") is None
    assert [(one.limit, one.rate_bytes, one.waited_seconds) for one in limits.report()] == [("up", RATE, 0.0)]


def made(settings: LimitSettings, key: str = "a", *, prefetch: bool = False) -> Pacer:
    pacer = Limits(settings).pacer(key, lambda: prefetch)
    assert pacer is not None
    return pacer


async def seconds(pacer: Pacer, size: int, *, origin: bool) -> float:
    begin = trio.current_time()
    await pacer.take(size, origin=origin)
    return trio.current_time() - begin


async def test_parts_count_in_the_whole(autojump_clock: trio.testing.MockClock) -> None:
    limits = Limits(LimitSettings(down=RATE, origin=RATE // 2, prefetch=RATE // 4))
    client = limits.pacer("client")
    prefetch = limits.pacer("prefetch", lambda: True)
    assert client is not None
    assert prefetch is not None
    await client.take(2 * MB, origin=False)
    assert await seconds(client, 1000, origin=True) == pytest.approx(1.751)
    assert await seconds(prefetch, MB // 4, origin=False) < 0.3, "peers' bytes are no part of origin's"
    await prefetch.take(MB, origin=False)
    assert await seconds(prefetch, 1000, origin=False) == pytest.approx(4 - 0.25, abs=0.3)


async def test_a_client_lifts_the_limit_of_prefetches(autojump_clock: trio.testing.MockClock) -> None:
    prefetching, told = [True], list[bool]()
    pacer = Limits(LimitSettings(prefetch=RATE)).pacer("a", lambda: prefetching[0])
    assert pacer is not None
    await pacer.take(1000 * MB, origin=False)
    clock, begin = Clock(told.append), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(pacer.take, 1000, origin=False, clock=clock))
        await trio.sleep(5)
        prefetching[0] = False
        pacer.lift()
    assert trio.current_time() - begin == 5
    assert (told, clock.held) == ([True, False], 5)
    assert await seconds(pacer, 1000, origin=False) == 0


async def test_turns_are_few_for_prefetches_and_small_requests_need_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    prefetching = [True]
    pacer = Limits(LimitSettings(prefetch=100 * MB)).pacer("a", lambda: prefetching[0])
    assert pacer is not None
    under_way, most = 0, 0

    async def request(size: int) -> None:
        nonlocal under_way, most
        async with pacer.turn(size, Clock(ignore)):
            under_way += 1
            most = max(most, under_way)
            await trio.sleep(1)
            under_way -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(request, 4 * MB)
    assert (most, trio.current_time()) == (PREFETCH_TURNS, 3)
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(request, ALONE)
    assert (most, trio.current_time()) == (9, 4)
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(request, 4 * MB)
        await trio.sleep(0.5)
        prefetching[0] = False
        pacer.lift()
    assert trio.current_time() == 5.5, "a client does not wait for prefetches' turns"


async def test_a_cancelled_request_gives_its_turn_back(autojump_clock: trio.testing.MockClock) -> None:
    pacer = made(LimitSettings(down=64 * 1024))
    for _ in range(5):
        with trio.move_on_after(1):
            async with pacer.turn(MB, Clock(ignore)):
                await trio.sleep_forever()
    assert trio.current_time() == 5
    async with pacer.turn(MB, Clock(ignore)):
        assert trio.current_time() == 5


class _Body:
    """Gives ``size`` zeros."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.parts: list[int] = []

    async def read_into(self, view: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        count = min(self.left, len(view))
        self.left -= count
        self.parts.append(count)
        return count


async def test_a_body_is_filled_in_steps(autojump_clock: trio.testing.MockClock) -> None:
    pacer, body = made(LimitSettings(down=RATE)), _Body(2 * MB)
    begin = trio.current_time()
    assert await pacer.fill(body, memoryview(bytearray(2 * MB)), origin=False) == 2 * MB
    assert trio.current_time() - begin == pytest.approx(1.75, abs=0.01)
    assert max(body.parts) == pacer.step(origin=False) == RATE // 20
    short = _Body(1000)
    assert await pacer.fill(short, memoryview(bytearray(MB)), origin=True) == 1000
