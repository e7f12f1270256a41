"""The iterative lookup: order, parallelism that rolls, early stop, and that it always ends."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.core.dht.contact import Contact, Endpoint, distance
from p2p.core.dht.lookup import ALPHA, CANDIDATES, QUERIES, Lookup
from p2p.core.dht.messages import Held
from tests.support.dht_rig import record_of

KEY = bytes(20)
SEEN = b"\x0a\0\0\1"


def contact(number: int) -> Contact:
    return Contact(hashlib.sha256(b"%d" % number).digest()[:20], Endpoint(SEEN, 5001))


def begin(numbers: range, *, enough: int = 0, k: int = 8) -> Lookup:
    return Lookup(KEY, [contact(n) for n in numbers], own=contact(-1).id, until=1.0, k=k, enough=enough)


def nearest(numbers: range) -> list[Contact]:
    return sorted((contact(n) for n in numbers), key=lambda one: distance(one.id, KEY))


def test_the_nearest_first_and_only_so_many_at_once() -> None:
    lookup = begin(range(20))
    assert lookup.next(0.0) == nearest(range(20))[:ALPHA]
    assert lookup.next(0.0) == []
    assert not lookup.over(0.0)
    lookup.on_success(nearest(range(20))[1].id, [])
    assert lookup.next(0.0) == nearest(range(20))[3:4]


def test_who_is_late_makes_room_and_is_still_heard() -> None:
    lookup = begin(range(20))
    first = lookup.next(0.0)
    for one in first:
        lookup.on_late(one.id)
    assert len(lookup.next(0.3)) == ALPHA, "not one dead node more is waited for"
    lookup.on_success(first[0].id, [])
    assert lookup.closest() == [first[0]]
    lookup.on_failure(first[1].id)
    lookup.on_success(first[1].id, [])
    assert lookup.closest() == first[:2], "better late than never"


def test_enough_providers_end_it_at_once() -> None:
    lookup = begin(range(20), enough=2)
    first, second, _ = lookup.next(0.0)
    one, two = Held(record_of(1, KEY), SEEN), Held(record_of(2, KEY), SEEN)
    assert lookup.on_success(first.id, [], [one]) == [one]
    assert not lookup.over(0.0)
    assert lookup.on_success(second.id, [], [one, two]) == [two], "the union of what all have"
    assert lookup.over(0.0)
    assert lookup.next(0.0) == []


def test_of_one_provider_the_record_that_holds_longest() -> None:
    lookup = begin(range(3), enough=5)
    short, long = Held(record_of(1, KEY, life=10), SEEN), Held(record_of(1, KEY, life=99), SEEN)
    assert lookup.take([short]) == [short]
    assert lookup.take([long]) == []
    assert lookup.take([short]) == []
    assert list(lookup.records.values()) == [long]


def test_it_ends_in_time_and_alone() -> None:
    assert begin(range(0)).over(0.0)
    lookup = begin(range(5))
    assert lookup.next(0.0)
    assert not lookup.over(0.99)
    assert lookup.over(1.0)
    assert lookup.next(1.0) == []


def test_oneself_is_never_asked() -> None:
    lookup = begin(range(-1, 0))
    assert lookup.next(0.0) == []
    assert lookup.over(0.0)


def test_liars_who_name_ever_nearer_nodes_do_not_make_it_endless() -> None:
    lookup, made, asked = begin(range(3)), 0, 0
    while not lookup.over(0.0):
        for one in lookup.next(0.0):
            asked += 1
            near = [
                Contact((1 << 100 | (10_000 - made - n)).to_bytes(20, "big"), Endpoint(SEEN, 1))
                for n in range(16)
            ]
            made += 16
            lookup.on_success(one.id, near)
    assert asked == lookup.queries <= QUERIES
    assert len(lookup._near) <= CANDIDATES


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0, 0.6))
def test_whatever_happens_it_ends_with_the_nearest_that_live(seed: int, nodes: int, dead: float) -> None:
    """Where all tell the same: nobody is asked twice, and the nearest that live are found."""
    rng = random.Random(seed)
    everyone = nearest(range(nodes))
    living = {one.id for one in everyone if rng.random() >= dead}
    lookup = Lookup(KEY, rng.sample(everyone, min(8, nodes)), own=b"", until=1.0, k=4)
    asked: list[Contact] = []
    under_way: list[Contact] = []
    while not lookup.over(0.0):
        fresh = lookup.next(0.0)
        asked += fresh
        under_way += fresh
        assert under_way, "not over, and nothing to wait for"
        one = under_way.pop(rng.randrange(len(under_way)))
        if one.id in living:
            lookup.on_success(one.id, everyone[:16])
        elif rng.random() < 0.5:
            lookup.on_late(one.id)
        else:
            lookup.on_failure(one.id)
    assert len(asked) == len({one.id for one in asked}) == lookup.queries <= QUERIES
    if any(one.id in living for one in asked):
        expected = [one for one in everyone[:16] if one.id in living]
        found = [one for one in lookup.closest() if one in everyone[:16]]
        assert found == expected[: len(found)]


@pytest.mark.parametrize("answered", [0, 1])
def test_a_failure_after_an_answer_changes_nothing(answered: int) -> None:
    lookup = begin(range(4))
    one, *_ = lookup.next(0.0)
    if answered:
        lookup.on_success(one.id, [])
    lookup.on_failure(one.id)
    lookup.on_late(b"nobody")
    lookup.on_failure(b"nobody")
    assert len(lookup.closest()) == answered
