"""When discovery is asked again, and when a swarm waits no longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.patience import FLOWING, MOST, PATIENCE, SEEK_EVERY, STALL, STALLED, Patience

times = st.floats(0, 1e6)


def patience(*, progress: float = 0.0, sought: float = 0.0, hope: float = 0.0) -> Patience:
    made = Patience()
    made.progress, made.sought, made.hope = progress, sought, hope
    return made


def test_alone_discovery_is_asked_again_and_again() -> None:
    made = patience(progress=10.0, sought=10.0)
    assert made.due(alone=True) == 10.0 + SEEK_EVERY
    made.sought = 10.5
    assert made.due(alone=True) == 10.5 + SEEK_EVERY


def test_with_peers_it_is_asked_after_a_stall_and_then_patience_ends() -> None:
    made = patience(progress=10.0, sought=10.0)
    assert made.due(alone=False) == 10.0 + STALL
    assert not made.stalled(11.9)
    assert made.stalled(12.0)
    made.sought = 12.0
    assert made.due(alone=False) == 10.0 + PATIENCE
    assert not made.over(21.9)
    assert made.over(22.0)


def test_hope_puts_off_the_stall_and_not_the_end_of_patience() -> None:
    """A peer that sends a list, state by state, can't buy time for ever."""
    made = patience(progress=10.0, sought=10.0)
    for now in (11, 12, 13, 21):
        made.hope = float(now)
        assert not made.stalled(now + 1.0)
        assert made.due(alone=False) <= 10.0 + PATIENCE
    assert made.over(22.0)


def test_where_chunks_are_slow_a_stall_is_longer() -> None:
    made = patience()
    for now in range(4, 400, 4):
        made.gained(float(now))
    assert not made.stalled(396.0 + 1.9 * 4)
    assert made.stalled(396.0 + STALLED * 4)
    made.sought = 396.0
    assert made.due(alone=False) == pytest.approx(396.0 + STALLED * 4, abs=0.01)


def test_where_a_tracker_sees_to_the_stream_patience_lasts_longer_until_a_chunk_comes() -> None:
    made = patience(progress=10.0, sought=12.0)
    assert made.over(10.0 + PATIENCE)
    made.held = True
    assert not made.over(10.0 + PATIENCE)
    assert made.due(alone=False) == 10.0 + FLOWING
    assert made.over(10.0 + FLOWING)
    made.gained(20.0)
    assert not made.held


@given(times, times, times, st.booleans())
def test_two_questions_are_never_closer_than_a_moment(
    progress: float, sought: float, hope: float, alone: bool
) -> None:
    assert patience(progress=progress, sought=sought, hope=hope).due(alone=alone) >= sought + SEEK_EVERY


@given(times, st.floats(0, 30), st.floats(0, 30))
def test_asking_when_due_gets_to_the_end_of_patience_in_a_few_steps(
    progress: float, hope: float, first: float
) -> None:
    """A deadline that its own tick does not move would be a shell that spins."""
    made = patience(progress=progress, sought=progress, hope=progress + hope)
    for _ in range(5):
        now = made.due(alone=False)
        if made.over(now):
            break
        made.sought = now
    else:
        pytest.fail("patience never ends")


def test_bytes_are_progress_for_a_while() -> None:
    made = patience(progress=10.0)
    made.flowed(15.0)
    assert made.last == 15.0
    assert made.due(alone=False) == 15.0 + STALL
    made.flowed(500.0)
    assert made.last == 10.0 + FLOWING, "who drips can't keep it waiting for ever"
    assert made.over(10.0 + FLOWING + PATIENCE)


def test_where_progress_is_slow_patience_lasts() -> None:
    made, now = patience(), 0.0
    for _ in range(100):
        made.gained(now := now + 2.0)
    assert not made.over(now + 31.0)
    assert made.over(now + 32.1)
    for _ in range(100):
        made.gained(now := now + 20.0)
    assert made.over(now + MOST)
    for _ in range(100):
        made.gained(now := now + 0.1)
    assert made.over(now + PATIENCE)
