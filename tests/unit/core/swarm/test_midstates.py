from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.midstates import INITIAL, Midstates

WIDTH = {"sha256": 32, "sha512": 64}
ALGORITHMS = st.sampled_from(sorted(WIDTH))


def numbered(algorithm: str, *numbers: int) -> Midstates:
    return Midstates(algorithm, b"".join(n.to_bytes(WIDTH[algorithm], "big") for n in numbers))


NUMBERS = st.lists(st.integers(0, 2), max_size=40)


def test_initial_values_are_those_of_the_standard() -> None:
    # The square roots of the first eight primes: their fractional bits (FIPS 180-4, §5.3).
    assert INITIAL["sha256"][:4].hex() == "6a09e667"
    assert INITIAL["sha512"][-8:].hex() == "5be0cd19137e2179"
    assert {name: len(value) for name, value in INITIAL.items()} == WIDTH


@pytest.mark.slow
@given(ALGORITHMS, NUMBERS)
def test_states_by_index(algorithm: str, numbers: list[int]) -> None:
    states = numbered(algorithm, *numbers)
    assert states.length == len(numbers)
    assert states.width == WIDTH[algorithm]
    assert states.state(0) == INITIAL[algorithm]
    for index, number in enumerate(numbers, 1):
        assert int.from_bytes(states.state(index), "big") == number
    for outside in (-1, len(numbers) + 1):
        with pytest.raises(IndexError):
            states.state(outside)


@pytest.mark.slow
@given(ALGORITHMS, st.binary(max_size=200))
def test_only_whole_states_are_taken(algorithm: str, data: bytes) -> None:
    if len(data) % WIDTH[algorithm]:
        with pytest.raises(ValueError, match="no whole number"):
            Midstates(algorithm, data)
    else:
        assert Midstates(algorithm, data).states == data


@pytest.mark.slow
@given(ALGORITHMS, NUMBERS, NUMBERS)
def test_disagreement_is_the_first_state_that_differs(algorithm: str, one: list[int], two: list[int]) -> None:
    # By chance alone lists part early: give half of the cases a shared beginning.
    two = one[: len(two)] + two if len(two) % 2 else two
    first = next((i for i, (a, b) in enumerate(zip(one, two, strict=False), 1) if a != b), None)
    left, right = numbered(algorithm, *one), numbered(algorithm, *two)
    assert left.disagreement(right) == first
    assert right.disagreement(left) == first
    assert left.agrees(right) == right.agrees(left) == (first is None)


@pytest.mark.slow
@given(NUMBERS, NUMBERS, st.integers(-1, 45))
def test_joining_replaces_the_tail(one: list[int], two: list[int], start: int) -> None:
    base, tail = numbered("sha256", *one), numbered("sha256", *two)
    if 0 <= start <= len(one):
        assert base.joined(start, tail.states) == numbered("sha256", *one[:start], *two)
        assert base.joined(start, tail.states).prefix(start) == base.prefix(start)
    else:
        with pytest.raises(ValueError, match="do not follow"):
            base.joined(start, tail.states)


def test_cut_states_are_not_joined() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        Midstates("sha256").joined(0, b"x")


def test_list_id_commits_to_the_states() -> None:
    states = numbered("sha512", 1, 2)
    assert states.list_id() == hashlib.sha256(states.states).digest()
    assert states.list_id() != states.prefix(1).list_id()


@pytest.mark.parametrize(("numbers", "count", "full"), [((), 1, True), ((), 2, False), ((7,), 2, True)])
def test_full_knows_every_link_but_the_last(numbers: tuple[int, ...], count: int, full: bool) -> None:
    assert numbered("sha256", *numbers).full(count) is full
