"""Subscribers hear in turn, as fast as they can be served; what comes from the origin one alone at first."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.offer import (
    AFTER,
    ALONE,
    AWAITED_MOST,
    AWAITED_SHARE,
    BUSY,
    FEW,
    LONGEST,
    PACE,
    SLICE,
    WAIT,
    WAIT_MOST,
    WAIT_USUAL,
    WHOLE_SLICE,
    Offer,
)


def offer(*names: str, have: int = 0) -> Offer:
    made = Offer(random.Random(0))
    for name in names:
        made.joined(name, have)
    return made


def test_few_subscribers_hear_at_once() -> None:
    one = offer("a", "b")
    assert {one.invite(1, 99, 0.0), one.invite(1, 99, 0.0)} == {"a", "b"}
    assert one.invite(1, 0, 0.0) is None
    assert one.next_at(1, 0) is None


def test_many_hear_one_after_the_other_while_few_are_served() -> None:
    one, now, heard = offer(*"abcdef"), 0.0, []
    for _ in range(6):
        due = one.next_at(0b11, 0)
        assert due is not None
        now = max(now, due)
        name = one.invite(0b11, 0, now)
        assert one.invite(0b11, 0, now) is None, "not two at once"
        heard.append(name)
        assert one.told(name) == 0b11
        one.asked()
    assert sorted(heard) == list("abcdef")
    assert one.settled(0b11)
    assert one.next_at(0b11, 0) is None
    assert now == 5 * PACE


def test_who_is_busy_invites_nobody_for_a_while_but_not_for_ever() -> None:
    one = offer(*"abcd")
    assert one.invite(1, 0, 0.0) is not None
    assert one.invite(1, BUSY, PACE) is None
    assert one.next_at(1, BUSY) == WAIT
    assert one.invite(1, BUSY, WAIT) is not None


def test_where_answers_take_long_who_is_busy_waits_longer() -> None:
    one = offer(*"abcd")
    assert one.invite(1, 0, 0.0) is not None
    for seconds, wait in ((0.1, WAIT), (2.0, 2.0 * WAIT_USUAL), (60.0, WAIT_MOST)):
        for _ in range(300):
            one.took(seconds)
        assert one.next_at(1, BUSY) == pytest.approx(wait)


def test_who_is_invited_counts_as_served_until_it_asks() -> None:
    one = offer(*"abcdef")
    for turn in range(BUSY):
        assert one.invite(1, 0, turn * PACE) is not None
    last = (BUSY - 1) * PACE
    assert one.next_at(1, 0) == pytest.approx(AWAITED_MOST), "the first of them may still ask"
    assert one.invite(1, 0, AWAITED_MOST * 0.9) is None
    one.asked()
    assert one.next_at(1, 1) == pytest.approx(last + AWAITED_MOST), "one is served, and one may still ask"
    assert one.next_at(1, 0) == pytest.approx(last + PACE), "served already"
    one.asked()
    one.asked()
    assert one.next_at(1, 1) == pytest.approx(last + PACE)
    assert one.invite(1, 1, last + PACE) is not None


def test_who_was_invited_has_the_longer_for_asking_the_longer_answers_take() -> None:
    for seconds, courtesy in ((0.1, 0.1 * AWAITED_SHARE), (60.0, AWAITED_MOST)):
        one = offer(*"abcdef")
        one.took(seconds)
        now = 0.0
        for _ in range(BUSY):
            assert one.invite(1, 0, now) is not None
            now += PACE
        assert one.next_at(1, 0) == pytest.approx(courtesy)
        assert one.invite(1, 0, courtesy) is not None


def test_the_order_is_each_nodes_own() -> None:
    names = [f"n{i}" for i in range(20)]
    orders = []
    for seed in range(2):
        one = Offer(random.Random(seed))
        for name in names:
            one.joined(name, 0)
        orders.append([one.invite(1, 0, float(i)) for i in range(20)])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(names)


def test_each_chunk_of_the_origin_goes_to_one_first() -> None:
    one = offer(*"abcd")
    one.seeding = True
    told = []
    for index in range(4):
        name = one.invite((1 << index + 1) - 1, 0, float(index) / 10)
        told.append(one.told(name))
    assert told == [0b1, 0b10, 0b100, 0b1000], "each time another one, and only what is new"
    assert one.invite(0b1111, 0, 1.0) is None
    assert one.next_at(0b1111, 0) == ALONE
    one.joined("late", 0b1111)
    assert one.told("late") == 0, "what is another's alone is not told to who comes later"
    assert one.invite(0b1111, 0, ALONE) is not None, "whoever heard of it may lie"


def test_what_has_spread_is_left_to_those_who_have_it() -> None:
    one = offer(*"abcd")
    one.seeding = True
    for index in range(3):
        one.invite((1 << index + 1) - 1, 0, float(index) / 10)
    one.spread = 0b101
    name = one.invite(0b111, 0, ALONE + 1)
    assert name is not None
    assert one.told(name) & 0b010, "nobody else holds it: whoever heard of it may lie"
    assert sum(one.told(other) & 0b101 for other in "abcd") == 0b101, "told to one each"
    one.spread = 0
    now = one.next_at(0b111, 0)
    assert now == ALONE + 1 + PACE, "the other two have not heard of it yet"
    while one.invite(0b111, 0, now) is not None:
        now += AWAITED_MOST
    assert all(one.told(other) & 0b010 for other in "abcd")
    assert not one.settled(0b111)
    now = 2 * ALONE + 1
    while one.invite(0b111, 0, now) is not None:
        now += AWAITED_MOST
    assert one.settled(0b111), "who had it may have gone"


def test_nothing_old_is_told_while_somebody_is_served() -> None:
    one = offer(*"abcd")
    one.seeding = True
    one.invite(1, 0, 0.0)
    late = ALONE - WAIT / 2
    one.invite(0b11, 0, late)
    assert one.invite(0b11, BUSY, ALONE) is None
    assert one.next_at(0b11, BUSY) == late + WAIT


def test_what_one_alone_heard_of_is_anothers_when_it_leaves() -> None:
    one = offer(*"abcd")
    one.seeding = True
    first = one.invite(1, 0, 0.0)
    one.left(first)
    second = one.invite(1, 0, PACE)
    assert second not in (None, first)
    assert one.told(second) == 1
    assert len(one) == 3


def test_after_the_stream_all_hear_of_all() -> None:
    one = offer(*"abcd")
    one.seeding = True
    one.invite(1, 0, 0.0)
    one.seeding = False
    assert one.invite(1, 0, PACE) is None
    assert one.next_at(1, 0) == AFTER, "who heard of it may have it by then"
    assert [one.invite(1, 0, AFTER + i) for i in range(3)].count(None) == 0
    assert one.settled(1)


def test_what_the_stream_left_untold_goes_out_once_before_anything_goes_twice() -> None:
    one = offer(*"abcd")
    one.seeding = True
    one.invite(1, 0, 0.0)
    one.seeding = False
    have = (1 << 2 * SLICE + 1) - 1
    one.joined("late", have)
    assert one.told("late") == 0
    first, second = one.invite(have, 0, AFTER), one.invite(have, 0, AFTER + PACE)
    assert first not in (None, second)
    assert one.told(first).bit_count() == one.told(second).bit_count() == SLICE, "a backlog is shared"
    assert not one.told(first) & one.told(second)
    now = AFTER + 2 * PACE
    while one.invite(have, 0, now) is not None or now < 2 * AFTER + 2 * PACE:
        now += AWAITED_MOST
    assert one.settled(have)


@pytest.mark.parametrize("seeding", [True, False])
def test_what_was_not_sent_yet_is_told_to_nobody_else_while_others_are_served(seeding: bool) -> None:
    one = offer(*"abcd")
    one.seeding = True
    assert [one.invite((1 << index + 1) - 1, 0, index * PACE) for index in range(2)].count(None) == 0
    one.sent(range(1), 0.5)
    one.seeding = seeding
    now = 0.0
    while now < 2 * ALONE:
        now += WAIT
        one.invite(0b11, BUSY, now)
    assert [sum(one.told(name) >> index & 1 for name in "abcd") for index in range(2)] == [4, 1]
    while now < LONGEST + 2 * ALONE:
        now += WAIT
        one.invite(0b11, BUSY, now)
    assert one.settled(0b11), "whoever heard of it lies, or is stuck"


def test_what_was_not_sent_is_told_to_others_where_there_is_nothing_else_to_do() -> None:
    one = offer(*"abcd")
    one.seeding = True
    one.invite(1, 1, 0.0)
    assert one.invite(1, 0, ALONE - PACE) is None
    assert one.invite(1, 0, ALONE) is not None


def test_who_was_sent_a_chunk_late_has_it_alone_for_as_long() -> None:
    one = offer(*"abcd")
    one.seeding = True
    one.invite(1, 0, 0.0)
    one.sent(range(1), ALONE / 2)
    assert one.invite(1, 0, ALONE) is None
    assert one.next_at(1, 0) == 1.5 * ALONE
    assert one.invite(1, 0, 1.5 * ALONE) is not None


def test_chunks_that_are_gone_were_never_told() -> None:
    one = offer("a", "b", have=0b111)
    assert one.lost(0b101)
    assert not one.lost(0b101)
    assert one.told("a") == 0b101


@given(st.lists(st.sampled_from(["join", "leave", "chunk", "seed", "wait"]), max_size=60), st.integers(0, 9))
def test_in_the_end_everybody_has_heard_of_everything(steps: list[str], seed: int) -> None:
    rng = random.Random(seed)
    one, have, now, names, count = Offer(rng), 0, 0.0, list[str](), 0
    for step in steps:
        if step == "join":
            count += 1
            names.append(f"n{count}")
            one.joined(names[-1], have)
        elif step == "leave" and names:
            one.left(names.pop(rng.randrange(len(names))))
        elif step == "chunk":
            have |= 1 << rng.randrange(40)
        elif step == "seed":
            one.seeding = not one.seeding
        else:
            now += rng.random()
        one.invite(have, rng.randrange(4), now)
        assert all(one.told(name) & ~have == 0 for name in names)
    for _ in range(10_000):
        due = one.next_at(have, BUSY)
        if due is None:
            break
        now = max(now, due)
        one.invite(have, BUSY, now)
    assert one.settled(have)


def test_few_hear_at_once_of_what_was_here_before_them_and_of_more_each_hears_of_a_slice() -> None:
    one, have = Offer(random.Random(0), whole=True), (1 << 40) - 1
    few, now = [f"n{i}" for i in range(FEW)], 0.0
    assert not any(one.joined(name, have) for name in few)
    assert one.settled(have)
    assert one.joined("more", have), "the others have to hear of less"
    names = [*few, "more"]
    assert all(one.told(name) == 0 for name in names)
    seen = 0
    while seen != have:
        behind = seen & ~(1 << 39)
        assert behind & behind + 1 == 0, "in order"
        assert seen == 0 or seen >> 39, "after the last one, which proves the list"
        due = one.next_at(have, 0)
        assert due is not None
        now = max(now, due)
        before = {name: one.told(name) for name in names}
        name = one.invite(have, 0, now)
        assert name is not None
        fresh = one.told(name) & ~before[name]
        assert fresh & seen == 0, "each chunk goes out once before any goes twice"
        assert 0 < fresh.bit_count() <= WHOLE_SLICE
        seen |= fresh
    for _ in range(200):
        due = one.next_at(have, 0)
        now = now if due is None else max(now, due)
        one.invite(have, 0, now)
    assert one.settled(have), "and then all hear of all"
    assert not one.joined("late", have)
    assert one.told("late") == have


def test_a_crowd_of_a_growing_blob_is_told_no_less_than_before() -> None:
    one = offer(*"abcd", have=0b11)
    assert not one.joined("e", 0b11)
    assert all(one.told(name) == 0b11 for name in "abcde")
