from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.store.eviction import Candidate, Room, decide

PLENTY = 1 << 40


def candidates(*sizes: int) -> list[Candidate[int]]:
    return [Candidate(index, size) for index, size in enumerate(sizes)]


def test_nothing_goes_where_there_is_room() -> None:
    room = Room(quota=0, used=10, free=PLENTY, floor=0)
    assert decide(room, 100, candidates(10)).victims == ()


def test_the_first_go_first_and_no_more_than_needed() -> None:
    room = Room(quota=100, used=100, free=PLENTY, floor=0)
    assert decide(room, 15, candidates(10, 10, 80)).victims == (0, 1)


def test_between_the_watermarks() -> None:
    room = Room(quota=100, used=80, free=PLENTY, floor=0, high=0.9, low=0.5)
    assert decide(room, 10, candidates(*[10] * 8)).victims == ()
    assert decide(room, 11, candidates(*[10] * 8)).victims == (0, 1, 2, 3, 4)


def test_low_water_is_a_wish_the_quota_a_must() -> None:
    room = Room(quota=100, used=95, free=PLENTY, floor=0, high=0.9, low=0.5)
    assert decide(room, 5, []).short == 0
    assert decide(room, 6, []).short == 1
    assert decide(room, 10, candidates(10)).victims == (0,)


def test_the_floor_of_the_filesystem() -> None:
    room = Room(quota=0, used=0, free=30, floor=20)
    assert decide(room, 10, []).short == 0
    assert decide(room, 15, candidates(5)).victims == (0,)
    assert decide(room, 16, candidates(5)).short == 1


def test_more_than_the_quota_never_fits() -> None:
    verdict = decide(Room(quota=100, used=0, free=PLENTY, floor=0), 101, candidates(10))
    assert (verdict.victims, verdict.short) == ((), 1)


@pytest.mark.slow
@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.lists(st.integers(0, 300), max_size=10),
    st.floats(0.5, 1),
    st.floats(0, 0.5),
)
def test_after_it_the_need_fits_or_nothing_went(
    quota: int, free: int, need: int, sizes: list[int], high: float, low: float
) -> None:
    room = Room(quota=quota, used=sum(sizes), free=free, floor=50, high=high, low=low)
    verdict = decide(room, need, candidates(*sizes))
    freed = sum(sizes[victim] for victim in verdict.victims)
    if verdict.short:
        assert verdict.victims == ()
        return
    assert verdict.victims == tuple(range(len(verdict.victims)))
    assert not quota or room.used - freed + need <= quota
    assert room.free + freed >= need + room.floor
