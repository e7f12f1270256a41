from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.requests import FIRST_HEDGE, Requests
from p2p.core.swarm.times import KNOWN, SAMPLES, NodeTimes, Times


@given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=3 * SAMPLES))
def test_it_goes_by_the_latest(seconds: list[float]) -> None:
    times = Times()
    for one in seconds:
        times.add(one)
    latest = sorted(seconds[-SAMPLES:])
    assert len(times) == len(latest)
    assert times.known == (len(seconds) >= KNOWN)
    assert times.median == latest[len(latest) // 2]
    assert times.median <= times.most <= latest[-1]


def test_chunks_of_other_sizes_take_other_times() -> None:
    node = NodeTimes()
    node.of(MIB).add(1.0)
    assert len(node.of(MIB)) == 1
    assert not len(node.of(4 * MIB))


def test_a_new_swarm_goes_by_the_times_of_the_others_until_it_has_its_own() -> None:
    node, old, new = NodeTimes(), Requests(), Requests()
    old.elsewhere = new.elsewhere = node.of(MIB)
    assert new.hedge_after(1) == FIRST_HEDGE
    for _ in range(KNOWN):
        old.timed(1.5, 1)
    assert new.hedge_after(1) == 3.0, "twice what requests take here now"
    for _ in range(KNOWN):
        new.timed(0.2, 1)
    assert new.hedge_after(1) == 0.4, "what it knows itself counts"
