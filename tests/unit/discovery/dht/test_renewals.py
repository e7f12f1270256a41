from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.records import LIFE
from p2p.discovery.dht.renewals import RENEW, RETRY, RETRY_FIRST, TRIES, Renewals


def test_at_once_then_at_half_its_life() -> None:
    renewals = Renewals(random.Random(1))
    renewals.add("a", 5.0)
    assert renewals.next_deadline() == 5.0
    assert renewals.take(5.0) == ["a"]
    assert renewals.take(5.0) == []
    renewals.done("a", stored=True, now=6.0)
    due = renewals.next_deadline()
    assert due is not None
    assert 6.0 + 0.8 * RENEW <= due <= 6.0 + RENEW <= 6.0 + LIFE / 2
    renewals.add("a", 7.0)
    assert renewals.next_deadline() == due, "told again, it keeps its time"


def test_what_too_few_took_is_put_again_soon_and_then_less_often() -> None:
    renewals, now, waits = Renewals(random.Random(1)), 0.0, list[float]()
    renewals.add("a", 0.0)
    for _ in range(8):
        assert renewals.take(now) == ["a"]
        renewals.done("a", stored=False, now=now)
        due = renewals.next_deadline()
        assert due is not None
        waits.append(due - now)
        now = due
    assert 0.8 * RETRY_FIRST <= waits[0] <= RETRY_FIRST
    assert waits[:4] == sorted(waits[:4])
    assert all(0.8 * RETRY <= wait <= RETRY for wait in waits[5:])
    renewals.take(now)
    renewals.done("a", stored=True, now=now)
    renewals.take(now := now + RENEW)
    renewals.done("a", stored=False, now=now)
    assert (renewals.next_deadline() or 0.0) <= now + RETRY_FIRST, "it begins anew"


def test_a_few_at_a_time_and_spread_afterwards() -> None:
    renewals = Renewals(random.Random(1), at_once=4)
    for number in range(10):
        renewals.add(f"{number}", 0.0)
    first = renewals.take(0.0)
    assert (len(first), renewals.next_deadline()) == (4, None)
    renewals.done(first[0], stored=True, now=1.0)
    assert len(renewals.take(1.0)) == 1
    assert len(renewals) == 10


def test_withdrawn() -> None:
    renewals = Renewals(random.Random(1))
    renewals.add("a", 0.0)
    renewals.add("b", 0.0)
    renewals.remove("a", 0.0)
    renewals.remove("a", 0.0)
    assert renewals.take(0.0) == ["b"], "nobody has heard of the other one"
    renewals.remove("b", 1.0)
    assert (len(renewals), renewals.take(1.0)) == (0, []), "it is just being put"
    renewals.done("b", stored=True, now=2.0)
    assert renewals.take(2.0) == ["b"]
    assert renewals.leaving("b")
    renewals.done("b", stored=True, now=3.0)
    assert (len(renewals), renewals.take(9e9), renewals.leaving("b")) == (0, [], False)


def test_a_record_that_can_not_be_taken_back_runs_out() -> None:
    renewals, now = Renewals(random.Random(1)), 0.0
    renewals.add("a", now)
    renewals.take(now)
    renewals.done("a", stored=True, now=now)
    renewals.remove("a", now)
    for _ in range(TRIES):
        now = renewals.next_deadline() or now
        assert renewals.take(now) == ["a"]
        renewals.done("a", stored=False, now=now)
    assert (renewals.take(9e9), len(renewals)) == ([], 0)


def test_provided_again_while_it_is_taken_back() -> None:
    renewals = Renewals(random.Random(1))
    renewals.add("a", 0.0)
    renewals.take(0.0)
    renewals.done("a", stored=True, now=0.0)
    renewals.remove("a", 1.0)
    assert renewals.take(1.0) == ["a"]
    renewals.add("a", 2.0)
    assert (len(renewals), renewals.leaving("a")) == (1, False)
    assert renewals.take(2.0) == [], "one after the other"
    renewals.done("a", stored=True, now=3.0)
    assert renewals.take(3.0) == ["a"]
    renewals.done("a", stored=True, now=3.0)
    assert renewals.take(4.0) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "remove", "take"])), max_size=50))
def test_whatever_order_each_is_put_once_at_a_time(steps: list[tuple[str, str]]) -> None:
    renewals, under_way, provided, now = Renewals(random.Random(1), at_once=2), list[str](), set(), 0.0
    for name, step in steps:
        now += 1.0
        if step == "add":
            renewals.add(name, now)
            provided.add(name)
        elif step == "remove":
            renewals.remove(name, now)
            provided.discard(name)
        else:
            if under_way:
                renewals.done(under_way.pop(0), stored=True, now=now)
            taken = renewals.take(now)
            assert not set(taken) & set(under_way)
            assert all((name in provided) != renewals.leaving(name) for name in taken)
            under_way += taken
        assert len(renewals) == len(provided)
