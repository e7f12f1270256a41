"""Rarest first inside a window, held against counting by hand."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.bitfield import iter_bits
from p2p.core.swarm.picker import WINDOW, Rarity, pick, run_from, window_bits

CHUNKS = 40
bits = st.integers(0, (1 << CHUNKS) - 1)
fields = st.lists(bits, max_size=12)


def counted(peers: list[int]) -> Counter[int]:
    return Counter(index for one in peers for index in iter_bits(one))


@given(fields)
def test_planes_are_the_digits_of_counts(peers: list[int]) -> None:
    rarity, counts = Rarity(), counted(peers)
    rarity.rebuild(peers)
    for index in range(CHUNKS):
        assert (
            sum((plane >> index & 1) << depth for depth, plane in enumerate(rarity.planes)) == counts[index]
        )
    assert set(iter_bits(rarity.available)) == set(counts)


@given(fields, fields)
def test_who_comes_and_goes_leaves_no_trace(peers: list[int], more: list[int]) -> None:
    rarity, fresh = Rarity(), Rarity()
    rarity.rebuild(peers + more)
    for one in more:
        rarity.take(one)
    fresh.rebuild(peers)
    assert rarity.planes == fresh.planes


@given(fields, bits.filter(bool))
def test_the_rarest_are_those_that_fewest_hold(peers: list[int], candidates: int) -> None:
    """Of candidates that somebody holds; a candidate that nobody holds counts as held by one."""
    rarity, counts = Rarity(), counted(peers)
    rarity.rebuild(peers)
    fewest = min(max(1, counts[index]) for index in iter_bits(candidates))
    expected = {index for index in iter_bits(candidates) if max(1, counts[index]) == fewest}
    assert set(iter_bits(rarity.rarest(candidates))) == expected


@given(fields, bits.filter(bool), bits, st.integers(0, 99))
def test_a_pick_is_urgent_in_order_or_one_of_the_rarest(
    peers: list[int], wanted: int, urgent: int, seed: int
) -> None:
    rarity = Rarity()
    rarity.rebuild(peers)
    picked = pick(wanted, urgent, rarity, random.Random(seed))
    assert wanted >> picked & 1
    if wanted & urgent:
        assert picked == min(iter_bits(wanted & urgent))
    else:
        assert rarity.rarest(wanted) >> picked & 1


def test_picks_are_spread_over_the_rarest() -> None:
    """Nodes that all took the lowest one would have nothing to give each other."""
    rarity, rng = Rarity(), random.Random(0)
    rarity.rebuild([0b1111_0000, 0b0011_0000])
    picks = Counter(pick(0b1111_0000, 0, rarity, rng) for _ in range(400))
    assert set(picks) == {6, 7}
    assert min(picks.values()) > 100


@given(st.integers(0, 200), st.integers(0, (1 << 200) - 1), st.integers(1, 200))
def test_the_window_lies_over_the_first_gap(position: int, have: int, count: int) -> None:
    position = min(position, count)
    have &= (1 << count) - 1
    first = next((i for i in range(position, count) if not have >> i & 1), count)
    assert list(iter_bits(window_bits(position, have, count))) == list(
        range(first, min(count, first + WINDOW))
    )


@given(st.integers(0, CHUNKS - 1), bits, st.integers(1, 8))
def test_a_run_is_consecutive_allowed_and_bounded(index: int, allowed: int, most: int) -> None:
    allowed |= 1 << index
    run = run_from(index, allowed, most)
    assert 1 <= run <= most
    assert all(allowed >> i & 1 for i in range(index, index + run))
    assert run == most or not allowed >> (index + run) & 1
