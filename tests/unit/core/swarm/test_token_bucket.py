import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.token_bucket import TokenBucket

RATE, BURST = 1000.0, 500.0
steps = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 500), st.floats(0, 0.4)), min_size=1, max_size=60)


def grants(bucket, steps, now=0.0):
    """Take in order, each a while after the one before, and wake up late; gives (time, size) of each."""
    given = []
    for pause, size, late in steps:
        now += pause
        wait = bucket.delay(size, now)
        if wait:
            now += wait + late
        bucket.take(size, now)
        given.append((now, size))
    return given


@given(steps)
def test_no_window_gets_more_than_its_rate_and_the_burst(steps):
    given = grants(TokenBucket(RATE, BURST), steps)
    for first, (start, _) in enumerate(given):
        total = 0
        for at, size in given[first:]:
            total += size
            assert total <= RATE * (at - start) + BURST + 1e-6


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), min_size=1, max_size=60))
def test_what_is_reserved_ahead_keeps_to_the_rate_too(steps):
    bucket, now, given = TokenBucket(RATE, BURST), 0.0, []
    for pause, size in steps:
        now += pause
        given.append((now + bucket.take(size, now), size))
    assert given == sorted(given, key=lambda one: one[0]), "first come, first served"
    for first, (start, _) in enumerate(given):
        total = 0
        for at, size in given[first:]:
            total += size
            assert total <= RATE * (at - start) + BURST + 1e-6


@given(st.lists(st.integers(1, 200), min_size=100, max_size=200), st.floats(0, 0.2))
def test_a_saturated_bucket_gives_its_rate_though_takers_wake_late(sizes, late):
    given = grants(TokenBucket(RATE, BURST), [(0.0, size, late) for size in sizes])
    end = given[-1][0]
    assert sum(sizes) >= 0.99 * RATE * end


def test_nothing_drifts_over_a_million_grants():
    bucket, now = TokenBucket(RATE, BURST), 1e6
    for _ in range(1_000_000):
        now += bucket.delay(100, now)
        bucket.take(100, now)
    assert now - 1e6 == pytest.approx((100 * 1_000_000 - BURST) / RATE, rel=1e-6)


@given(st.integers(501, 10_000_000), st.integers(1, 500))
def test_a_huge_request_is_let_through_and_paid_for_afterwards(huge, small):
    bucket = TokenBucket(RATE, BURST)
    assert bucket.take(huge, 0.0) == 0.0
    assert bucket.take(small, 0.0) == pytest.approx((huge - BURST + small) / RATE)


def test_a_huge_request_waits_for_a_full_bucket():
    bucket = TokenBucket(RATE, BURST)
    bucket.take(200, 0.0)
    assert bucket.delay(10_000, 0.0) == pytest.approx(0.2)
    assert bucket.delay(300, 0.0) == 0.0


@given(st.floats(10, 1e6), st.floats(10, 1e6), st.integers(501, 100_000))
def test_another_rate_holds_from_then_on(before, after, owed):
    bucket = TokenBucket(before, BURST)
    bucket.take(owed, 0.0)
    bucket.change(after, 0.0)
    assert bucket.delay(BURST, 0.0) == pytest.approx(owed / after)
    now = 0.0
    for _ in range(50):
        now += bucket.delay(100, now)
        bucket.take(100, now)
    assert owed + 50 * 100 - BURST == pytest.approx(after * now)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1)])
def test_nothing_would_come_through(rate, burst):
    with pytest.raises(ValueError, match="nothing through"):
        TokenBucket(rate, burst)
    with pytest.raises(ValueError, match="nothing through"):
        TokenBucket(1, 1).change(0, 0.0)
