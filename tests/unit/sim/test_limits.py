"""A node's limits hold over any window, and a crowd that has them completes."""

from __future__ import annotations

import pytest

from p2p.config import LimitSettings
from p2p.sim.catalog import LIMIT, LIMITED, groups
from p2p.sim.heap import Heap
from p2p.sim.limits import Limit, Limits, Taking
from p2p.sim.world import World
from p2p.transfer.limits import BURST_SECONDS

WINDOW = 8.0
"""Seconds in which what was saved up before is less than 5 % of what may pass."""

BURST = BURST_SECONDS * LIMIT


def over(heap: Heap, until: float) -> None:
    heap.run(until, lambda: False)


def test_takers_get_the_rate_and_the_same_share_each() -> None:
    heap = Heap()
    limit = Limit(heap, LIMIT, 1 << 20)
    got = dict.fromkeys("ab", 0)

    def take(key: str) -> None:
        got[key] += limit.step
        limit.take(key, limit.step, lambda: take(key))

    for key in "aaaaaab":
        limit.take(key, limit.step, lambda key=key: take(key))  # type: ignore[misc]
    over(heap, 60.0)
    assert limit.taken == pytest.approx(60.0 * LIMIT, rel=0.05)
    assert got["a"] == pytest.approx(got["b"], rel=0.05)


def test_what_nobody_wants_any_more_takes_nothing() -> None:
    heap = Heap()
    limit = Limit(heap, LIMIT, 1 << 20)
    wanted, done = [True], []
    one = Taking((limit,), "a", 4 * LIMIT, lambda: done.append("a"), lambda: wanted[0])
    heap.at(1.0, wanted.clear)
    heap.at(1.0, wanted.append, False)
    heap.at(2.0, lambda: Taking((limit,), "b", LIMIT, lambda: done.append("b"), lambda: True))
    over(heap, 10.0)
    assert done == ["b"]
    assert not one.over
    assert limit.taken < 2.5 * LIMIT


def test_a_part_counts_in_the_whole_and_a_prefetch_is_limited_where_nobody_waits() -> None:
    settings = LimitSettings(down=3 * LIMIT, origin=2 * LIMIT, prefetch=LIMIT)
    quiet, waited = (Limits(Heap(), settings, prefetching=one) for one in (True, False))
    assert quiet.chain(origin=True) == (quiet.prefetch, quiet.origin, quiet.down)
    assert quiet.chain(origin=False) == (quiet.prefetch, quiet.down)
    assert waited.chain(origin=False) == (waited.down,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["up", "down", "origin", "prefetch"])
def test_a_limit_holds_within_five_percent_and_the_crowd_completes(name: str) -> None:
    (scenario,) = (one for one in groups(100, 1)["limits"] if one.name == f"limits.{name}")
    world = World(scenario)
    samples: list[list[int]] = []

    def look() -> None:
        samples.append([getattr(node.host.limits, name).taken for node in world.nodes])
        world.heap.at(world.heap.now + 1.0, look)

    world.heap.at(0.0, look)
    result = world.run()
    assert result.completed == LIMITED.nodes
    assert result.copies == pytest.approx(1.0, abs=0.02)
    span = int(WINDOW)
    for node in range(LIMITED.nodes):
        for before, after in zip(samples, samples[span:], strict=False):
            assert after[node] - before[node] <= 1.05 * span * LIMIT
    # It is the limit that takes the time, a fifth of the links; and it is made use of.
    least = scenario.size / LIMIT
    assert 0.95 * least <= result.makespan <= 1.35 * least
    busiest = max(after - before for before, after in zip(samples[1], samples[1 + span], strict=True))
    assert busiest >= 0.95 * span * LIMIT


def test_an_uploader_sends_what_its_limit_lets_through() -> None:
    world = World(LIMITED.but(nodes=3, size=LIMITED.size // 4, limits=LimitSettings(up=LIMIT)))
    world.run()
    for node in world.nodes:
        limits = node.host.limits
        assert limits is not None
        assert limits.up is not None
        assert limits.up.taken <= LIMIT * world.heap.now + BURST
        assert node.host.sent <= limits.up.taken
        assert not node.host.paced
