from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.token_bucket import TokenBucket


def test_a_full_burst_passes_at_once_and_the_rest_waits() -> None:
    bucket = TokenBucket(rate=10, burst=5, now=100.0)
    assert bucket.take(5, 100.0) == 0
    assert bucket.take(1, 100.0) == pytest.approx(0.1)
    assert bucket.take(1, 100.0) == pytest.approx(0.2)


def test_what_was_saved_is_at_most_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=5, now=0.0)
    bucket.take(5, 0.0)
    assert bucket.take(5, 1000.0) == 0
    assert bucket.take(1, 1000.0) == pytest.approx(0.1)


def test_more_than_the_burst_passes_at_the_rate() -> None:
    assert TokenBucket(rate=10, burst=5, now=0.0).take(105, 0.0) == pytest.approx(10.0)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_nonsense_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(rate, burst, 0.0)


@pytest.mark.slow
@given(
    st.floats(0.1, 1e6),
    st.floats(0.1, 1e6),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e5)), max_size=30),
)
def test_the_rate_holds_over_any_course(rate: float, burst: float, takes: list[tuple[float, float]]) -> None:
    """By the time that each taker has waited, no more than burst + rate x time has passed."""
    bucket = TokenBucket(rate, burst, 0.0)
    now = total = 0.0
    for pause, amount in takes:
        now += pause
        wait = bucket.take(amount, now)
        total += amount
        assert total <= burst + rate * (now + wait) + 1e-6 * (total + rate * now + burst)
