from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.net.pace import Pace


def test_a_pause_of_the_whole_timeout_is_too_long() -> None:
    pace = Pace(30, 0)
    assert pace.waited(29, 0)
    assert pace.allowance() == 1
    assert not pace.waited(1, 0)


def test_progress_ends_a_pause() -> None:
    pace = Pace(30, 0)
    for moved in range(1, 100):
        assert pace.waited(20, moved)


def test_too_little_on_average() -> None:
    pace = Pace(30, 1000)
    assert pace.waited(10, 9_000)
    assert pace.waited(10, 18_000)
    assert not pace.waited(10, 29_999)


def test_enough_on_average_begins_anew() -> None:
    pace = Pace(30, 1000)
    moved = 0
    for _ in range(21):
        moved += 10_000
        assert pace.waited(10, moved)
    assert pace.waited(29, moved)
    assert not pace.waited(1, moved)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50_000)), max_size=50))
def test_the_allowance_is_never_longer_than_the_timeout(waits: list[tuple[float, int]]) -> None:
    pace, total = Pace(30, 1000), 0
    for seconds, moved in waits:
        allowance = pace.allowance()
        assert 0 < allowance <= 30
        total += moved
        if not pace.waited(min(seconds, allowance), total):
            return
