"""What is known of a peer: its speed, and what it may be asked at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.chunks import LARGE, MIB
from p2p.core.swarm.peer import Peer
from tests.support.swarm_rig import provider


def peer(rate: float = 0.0) -> Peer:
    made = Peer(provider("a"), 0.0)
    made.rate = rate
    return made


def test_the_rate_is_smoothed() -> None:
    one = peer()
    one.measured(10 * MIB, 1.0)
    assert one.rate == 10 * MIB
    one.measured(20 * MIB, 1.0)
    assert 10 * MIB < one.rate < 20 * MIB
    for _ in range(50):
        one.measured(20 * MIB, 1.0)
    assert abs(one.rate - 20 * MIB) < MIB


def test_an_answer_in_no_time_is_no_division_by_zero() -> None:
    one = peer()
    one.measured(MIB, 0.0)
    assert one.rate > 0


def test_two_requests_at_first_and_at_most_four_to_a_fast_peer() -> None:
    assert peer().window(4 * MIB) == 2
    assert peer(1 * MIB).window(4 * MIB) == 2
    assert peer(50 * MIB).window(4 * MIB) == 3
    assert peer(1000 * MIB).window(4 * MIB) == 4


def test_an_untried_or_slow_peer_is_asked_for_one_chunk_at_a_time() -> None:
    """What it does not bring must be asked of somebody else."""
    assert peer().run(MIB, 4) == 1
    assert peer(0.1 * MIB).run(MIB, 4) == 1
    assert peer(2.5 * MIB).run(MIB, 4) == 2
    assert peer(1000 * MIB).run(MIB, 4) == 4


@given(st.floats(0, 1e12), st.sampled_from([MIB, 4 * MIB, LARGE]), st.integers(1, 16))
def test_bounds(rate: float, chunk: int, most: int) -> None:
    assert 1 <= peer(rate).run(chunk, most) <= most
    assert 2 <= peer(rate).window(chunk) <= 4
