"""The table of requests, under any course of its own calls."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from p2p.core.swarm.actions import ORIGIN
from p2p.core.swarm.bitfield import iter_bits
from p2p.core.swarm.requests import (
    FIRST_HEDGE,
    FLOW_GRACE,
    FLOW_MOST,
    KNOWN,
    LEAST_HEDGE,
    MOST_HEDGE,
    USUAL,
    Requests,
)
from p2p.core.swarm.times import SAMPLES


class Table(RuleBasedStateMachine):
    """Against a plain dictionary of what each request still misses."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.requests = Requests()
        self.missing: dict[int, list[int]] = {}
        self.ever: set[int] = set()
        self.now = 0.0

    @rule(
        target=numbers,
        first=st.integers(0, 30),
        count=st.integers(1, 6),
        peer=st.sampled_from(["a", "b", ORIGIN]),
    )
    def add(self, first: int, count: int, peer: str) -> int:
        self.now += 0.01
        pending = self.requests.add(peer, first, count, self.now)
        assert pending.request not in self.ever, "a number stands for one request alone"
        assert pending.late_at > self.now
        assert not pending.late
        self.ever.add(pending.request)
        self.missing[pending.request] = list(range(first, first + count))
        return pending.request

    @rule(number=numbers, count=st.integers(1, 3))
    def taken(self, number: int, count: int) -> None:
        left = self.missing.get(number)
        if left is not None and len(left) < count:
            return
        self.requests.taken(number, count)
        if left is not None:
            del left[:count]

    @rule(number=numbers)
    def end(self, number: int) -> None:
        pending = self.requests.end(number)
        assert (pending is not None) == (number in self.missing)
        self.missing.pop(number, None)

    @rule(target=numbers)
    def a_stranger(self) -> object:
        assert self.requests.end(10**6) is None
        self.requests.taken(10**6, 1)
        return multiple()

    @rule(seconds=st.floats(0, 100), count=st.integers(1, 4))
    def timed(self, seconds: float, count: int) -> None:
        self.requests.timed(seconds, count)

    @invariant()
    def what_is_missing(self) -> None:
        assert {n: list(p.missing) for n, p in self.requests.pending.items()} == self.missing

    @invariant()
    def who_was_asked_for_a_chunk(self) -> None:
        expected: dict[int, list[int]] = {}
        for number, left in self.missing.items():
            for index in left:
                expected.setdefault(index, []).append(number)
        assert {i: sorted(numbers) for i, numbers in self.requests.by_chunk.items()} == expected

    @invariant()
    def the_bits_are_the_chunks_under_way(self) -> None:
        assert set(iter_bits(self.requests.bits)) == set(self.requests.by_chunk)

    @rule(number=numbers, held=st.booleans())
    def hold(self, number: int, held: bool) -> None:
        self.requests.hold(number, held, self.now)

    @rule(number=numbers, seconds=st.floats(0, 9), late=st.booleans())
    def postpone(self, number: int, seconds: float, late: bool) -> None:
        if number in self.missing:
            pending = self.requests.pending[number]
            pending.late |= late
            self.requests.postpone(pending, self.now + seconds)

    @invariant()
    def the_first_late_one_is_known(self) -> None:
        for endgame in (False, True, True, False):
            first = min((one.due(endgame=endgame) for one in self.requests.pending.values()), default=inf)
            assert self.requests.first_late(endgame=endgame) == first

    @invariant()
    def lateness_is_bounded(self) -> None:
        assert LEAST_HEDGE <= self.requests.hedge_after(1) <= max(MOST_HEDGE, USUAL * 100)


Table.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestTable = pytest.mark.slow(Table.TestCase)


def test_late_is_twice_the_95th_percentile_of_the_recent_requests() -> None:
    requests = Requests()
    for _ in range(3):
        requests.timed(0.3, 1)
        assert requests.hedge_after(1) == FIRST_HEDGE
    for _ in range(16):
        requests.timed(0.3, 1)
    requests.timed(9.0, 1)  # one in twenty
    assert requests.hedge_after(1) == MOST_HEDGE
    requests.timed(0.3, 1)
    assert requests.hedge_after(1) == pytest.approx(0.6)


def test_a_longer_request_has_longer() -> None:
    """Else every long one that follows a few short ones would be asked twice."""
    requests = Requests()
    for _ in range(8):
        requests.timed(0.5, 1)
    assert requests.hedge_after(1) == pytest.approx(1.0)
    assert requests.hedge_after(4) == pytest.approx(4.0)
    for _ in range(SAMPLES):
        requests.timed(2.0, 4)
    assert requests.hedge_after(4) == pytest.approx(4.0)


def test_the_origin_and_what_our_own_limits_hold_are_never_late() -> None:
    requests = Requests()
    assert requests.first_late(endgame=False) == inf
    requests.add(ORIGIN, 0, 1, 0.0)
    mine, other = requests.add("a", 1, 1, 1.0), requests.add("b", 2, 1, 2.0)
    assert requests.first_late(endgame=False) == mine.late_at == 1.0 + FIRST_HEDGE
    assert requests.first_late(endgame=True) == 1.0 + FIRST_HEDGE / 2
    requests.hold(mine.request, True, 1.5)
    assert requests.first_late(endgame=False) == other.late_at
    requests.end(other.request)
    assert requests.first_late(endgame=False) == inf


def test_in_the_endgame_a_few_slow_peers_do_not_set_the_time() -> None:
    requests = Requests()
    for _ in range(8):
        requests.timed(0.2, 1)
    for _ in range(4):
        requests.timed(2.0, 1)
    one = requests.add("a", 0, 1, 0.0)
    assert one.due(endgame=False) == pytest.approx(4.0)
    assert one.due(endgame=True) == pytest.approx(0.4), "twice the median"
    one.late = True
    assert one.due(endgame=True) == one.late_at
    for _ in range(SAMPLES):
        requests.timed(0.01, 1)
    assert requests.add("a", 1, 1, 0.0).due(endgame=True) == pytest.approx(LEAST_HEDGE / 2)


def test_only_recent_times_count() -> None:
    requests = Requests()
    for _ in range(SAMPLES):
        requests.timed(2.0, 1)
    for _ in range(SAMPLES):
        requests.timed(0.2, 1)
    assert requests.hedge_after(1) == pytest.approx(0.4)


def test_the_time_that_a_request_is_held_is_not_its_peers() -> None:
    requests = Requests()
    pending = requests.add("a", 0, 1, 10.0)
    requests.hold(pending.request, True, 10.5)
    assert pending.held == 10.5
    requests.hold(pending.request, False, 14.5)
    assert (pending.held, pending.sent, pending.late_at) == (None, 14.0, 14.0 + FIRST_HEDGE)
    requests.hold(pending.request, False, 99.0)
    requests.hold(77, True, 99.0)
    assert pending.sent == 14.0


def test_where_all_are_slow_nobody_is_late_for_that() -> None:
    requests = Requests()
    for _ in range(SAMPLES):
        requests.timed(6.0, 1)
    assert requests.hedge_after(1) == 12.0, "as late as otherwise: else each would be asked of two"
    for _ in range(SAMPLES // 3):
        requests.timed(60.0, 1)
    assert requests.hedge_after(1) == USUAL * 6.0, "and not what the slowest ones make of it"


def test_bytes_that_come_keep_a_first_request_from_being_late() -> None:
    requests = Requests()
    one, other = requests.add("a", 0, 1, 0.0), requests.add("b", 1, 1, 0.0)
    assert one.late_at == FIRST_HEDGE
    assert requests.flows(one.request, 100_000, 0.5)
    assert one.late_at == 0.5 + FLOW_GRACE
    assert not requests.flows(one.request, 100_000, 1.0), "no more bytes than before"
    assert one.late_at == 0.5 + FLOW_GRACE
    assert requests.flows(other.request, 20_000, 0.5)
    assert other.late_at == FIRST_HEDGE, "it drips, against the other one"
    assert not requests.flows(other.request, 20_001, 2.0), "and so slowly that it does not count"
    assert requests.flows(one.request, 5_000_000, FLOW_MOST - 0.1)
    assert one.late_at == FLOW_MOST
    assert not requests.flows(99, 100_000, 1.0)


def test_once_it_is_known_how_long_answers_take_bytes_alone_change_nothing() -> None:
    requests = Requests()
    for _ in range(KNOWN):
        requests.timed(0.5, 1)
    one = requests.add("a", 0, 1, 0.0)
    assert requests.flows(one.request, 100_000, 0.9)
    assert one.late_at == pytest.approx(1.0)
