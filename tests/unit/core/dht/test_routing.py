"""The routing table over kademlia's: each fault that it sets right has its test."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from p2p.core.dht.contact import Contact, Endpoint, distance
from p2p.core.dht.routing import Bucket, Member, Table

OWN = bytes(20)


def member(node: bytes, port: int = 5001, now: float = 0.0) -> Member:
    return Member(node * 2, Contact(node, Endpoint(b"\x0a\0\0\1", port)), 5001, now)


def some(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()[:20]


def test_it_is_the_librarys() -> None:
    assert isinstance(Table(OWN), RoutingTable)
    assert all(isinstance(bucket, KBucket) for bucket in Table(OWN).buckets)


def test_nobody_is_far_from_himself_and_own_id_is_left_out() -> None:
    table = Table(OWN)
    assert table.add_contact(member(OWN)) is None
    assert len(table) == 0


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400), st.integers(1, 20), st.integers(0, 5))
def test_the_nearest_are_the_nearest(seed: int, count: int, k: int, failing: int) -> None:
    table = Table(some(seed))
    for number in range(count):
        one = member(some(1000 + number))
        one.failures = number % 5 < failing
        table.add_contact(one)
    key = some(seed + 5000)
    found = [one.id for one in table.find_neighbors(Node(key), k)]
    ranked = sorted(table, key=lambda one: (one.failures > 0, distance(one.id, key)))
    assert found == [one.id for one in ranked][:k], "those that failed after all others"


def test_the_depth_of_a_bucket_is_the_librarys() -> None:
    for number in range(50):
        bucket, known = Bucket(0, (1 << 160) - 1, 8, 0.0), KBucket(0, 1 << 160, 8)
        for place in range(1 + number % 8):
            one = member(bytes(number % 20) + some(8 * number + place)[number % 20 :])
            bucket.add_node(one)
            known.add_node(one)
        assert bucket.depth() == known.depth()


def test_those_that_failed_come_last_and_the_asker_not_at_all() -> None:
    table = Table(OWN)
    for number in range(5):
        table.add_contact(member(some(number)))
    first, second, *_ = table.find_neighbors(Node(some(99)))
    first.failures = 1
    assert table.find_neighbors(Node(some(99)))[-1] is first
    assert table.find_neighbors(Node(some(99)), exclude=Node(second.id))[0] is not second


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 160) - 1), max_size=200), st.integers(0, (1 << 160) - 1))
def test_every_contact_is_found_again_and_in_one_place(numbers: list[int], own: int) -> None:
    """Upper ends of ranges included, which kademlia looks for in the next bucket."""
    table = Table(own.to_bytes(20, "big"))
    middles = [(1 << 159) - 1, (1 << 160) - 1, (1 << 158) - 1]
    for number in numbers + middles:
        table.add_contact(member(number.to_bytes(20, "big")))
    ids = [one.id for one in table]
    assert len(ids) == len(set(ids)) == len(table)
    for node in ids:
        found = table.get(node)
        assert found is not None
        table.remove_contact(found)
        assert table.get(node) is not found
    for bucket in table.buckets:
        assert not set(bucket.nodes) & set(bucket.replacement_nodes)
        assert all(bucket.range[0] <= one.long_id <= bucket.range[1] for one in bucket.nodes.values())


def test_a_new_address_replaces_the_stale_one_for_good() -> None:
    """In kademlia a replacement under the old address came back when somebody else was removed."""
    bucket = Bucket(0, (1 << 160) - 1, 2, 0.0)
    a, b, c = (some(n) for n in range(3))
    bucket.add_node(member(a))
    bucket.add_node(member(b))
    assert not bucket.add_node(member(c, port=1111)), "full: a replacement"
    bucket.nodes.pop(a)
    assert bucket.add_node(member(c, port=2222))
    bucket.remove_node(member(b))
    assert [one.port for one in bucket.nodes.values()] == [2222]


def test_a_full_bucket_gives_its_least_recently_seen() -> None:
    table = Table(OWN, k=2)
    near = [b"\x80" + some(n)[1:] for n in range(40)]  # far from the own id: not split for ever
    crowded = None
    for node in near:
        crowded = crowded or table.add_contact(member(node))
    assert isinstance(crowded, Member)
    assert table.get(crowded.id) is crowded


def test_it_does_not_split_without_end() -> None:
    table = Table(b"\xff" * 20, k=2)
    for number in range(100):
        table.add_contact(member(bytes(19) + bytes([number])))
    assert len(table.buckets) < 400


def test_at_most_so_many() -> None:
    table = Table(OWN, capacity=20)
    for number in range(500):
        table.add_contact(member(some(number)))
    assert len(table) == 20
    known = next(iter(table))
    table.add_contact(member(known.id, port=7777))
    renewed = table.get(known.id)
    assert renewed is not None
    assert renewed.port == 7777, "who is known may move"


def test_buckets_without_use_are_stale() -> None:
    table = Table(OWN, now=0.0)
    for number in range(100):
        table.add_contact(member(some(number)))
    everything = [bucket for bucket in table.buckets if len(bucket)]
    assert set(map(id, table.stale_buckets(1.0))) >= set(map(id, everything))
    table.touch(some(5), 10.0)
    assert len(table.stale_buckets(5.0)) == len(table.stale_buckets(11.0)) - 1


@pytest.mark.parametrize("seed", range(3))
def test_time_survives_a_split(seed: int) -> None:
    table = Table(OWN, now=42.0)
    rng = random.Random(seed)
    for _ in range(100):
        table.add_contact(member(rng.randbytes(20)))
    assert {bucket.last_updated for bucket in table.buckets} == {42.0}
