from __future__ import annotations

import hashlib

import pytest

from p2p.core.dht.admission import (
    AT_ONCE,
    FAILURES,
    HEARD,
    IDLE,
    RECHECK,
    REMEMBERED,
    RESTED,
    RETRY,
    SILENCE,
    WAITING,
    Admission,
)
from p2p.core.dht.contact import Contact, Endpoint
from p2p.core.dht.routing import Member, Table

OWN = bytes(20)
BOTH = frozenset({4, 16})


def place(number: int) -> Endpoint:
    return Endpoint(bytes([10, 0, number >> 8, number & 255]), 5001)


def member(number: int, now: float = 0.0) -> Member:
    public = hashlib.sha256(b"%d" % number).digest()
    return Member(public, Contact(public[:20], place(number)), 5001, now)


@pytest.fixture
def table() -> Table:
    return Table(OWN)


@pytest.fixture
def admission(table: Table) -> Admission:
    return Admission(table, families=BOTH)


def test_candidates_wait_their_turn(admission: Admission) -> None:
    for number in range(AT_ONCE + 2):
        admission.consider(place(number), None, 0.0)
    assert len(admission.take(0.0)) == AT_ONCE
    assert admission.take(0.0) == []
    admission.done()
    assert admission.take(0.0) == [place(AT_ONCE)]


def test_nobody_is_pinged_again_at_once(admission: Admission) -> None:
    admission.consider(place(1), None, 0.0)
    assert admission.take(0.0) == [place(1)]
    admission.done()
    admission.consider(place(1), None, RETRY - 0.1)
    assert admission.take(RETRY - 0.1) == []
    admission.consider(place(1), None, RETRY)
    assert admission.take(RETRY) == [place(1)]


def test_bounded(admission: Admission) -> None:
    for number in range(WAITING + 50):
        admission.consider(place(number), None, 0.0)
    assert len(admission._waiting) == WAITING
    for _ in range(3 * REMEMBERED):
        for _ in admission.take(0.0):
            admission.done()
    assert len(admission._tried) <= REMEMBERED


def test_addresses_that_can_not_be_reached_are_no_candidates(table: Table) -> None:
    only_four = Admission(table, families=frozenset({4}))
    only_four.consider(Endpoint(bytes(15) + b"\1", 5001), None, 0.0)
    only_four.consider(Endpoint(b"\xe0\0\0\1", 5001), None, 0.0)
    assert only_four.take(0.0) == []


def test_who_is_known_there_is_no_candidate_but_elsewhere_is(table: Table, admission: Admission) -> None:
    one = member(1)
    admission.admit(one, 0.0)
    admission.consider(one.endpoint, one.id, 1.0)
    assert admission.take(1.0) == []
    admission.consider(place(99), one.id, 1.0)
    assert admission.take(1.0) == [place(99)]
    moved = Member(one.public, Contact(one.id, place(99)), 5001, 2.0)
    admission.admit(moved, 2.0)
    found = table.get(one.id)
    assert found is not None
    assert found.endpoint == place(99)


def test_dropped_after_failures_over_some_time(table: Table, admission: Admission) -> None:
    one = member(1)
    admission.admit(one, 0.0)
    now = SILENCE
    admission.heard_at = now
    for _ in range(FAILURES - 1):
        admission.failed(one.id, now)
        assert table.get(one.id) is one
        due = admission.next_deadline()
        assert due is not None
        assert due >= now + RECHECK
        assert admission.check(due) == [one]
    admission.failed(one.id, now)
    assert table.get(one.id) is None
    assert (admission.evicted, admission.next_deadline()) == (1, None)
    admission.failed(one.id, now)


def test_a_burst_of_failures_drops_nobody(table: Table, admission: Admission) -> None:
    one = member(1)
    admission.admit(one, 0.0)
    admission.heard_at = 1.0
    for _ in range(50):
        admission.failed(one.id, 1.0)
    assert table.get(one.id) is one
    assert admission.answered(one.id, one.endpoint, 2.0)
    assert (one.failures, admission.next_deadline()) == (0, None)


def test_a_node_that_hears_nobody_keeps_its_table(table: Table, admission: Admission) -> None:
    one = member(1)
    admission.admit(one, 0.0)
    admission.heard_at = 0.0
    for turn in range(20):
        admission.failed(one.id, 100.0 + HEARD * turn)
    assert table.get(one.id) is one


def test_an_answer_from_elsewhere_is_not_the_contacts(admission: Admission) -> None:
    one = member(1)
    admission.admit(one, 0.0)
    assert not admission.answered(one.id, place(2), 1.0)
    assert not admission.answered(member(3).id, place(3), 1.0)
    assert admission.heard_at == 1.0


def test_a_crowded_bucket_asks_who_was_not_seen_for_long() -> None:
    table = Table(b"\xff" * 20, k=2)
    admission = Admission(table, families=BOTH)
    number = crowd = 0
    while not crowd and number < 5000:
        admission.admit(member(number), 0.0)
        number += 1
        crowd = max(crowd, *(len(bucket.replacement_nodes) for bucket in table.buckets))
    assert admission.next_deadline() is None, "all were seen just now"
    while admission.next_deadline() is None and number < 10_000:
        admission.admit(member(number, RESTED + 1), RESTED + 1)
        number += 1
    (suspect,) = admission.check(RESTED + 1)
    assert suspect.seen == 0.0


def test_those_not_heard_for_long_are_asked_a_few_at_a_time(admission: Admission, table: Table) -> None:
    for number in range(2 * AT_ONCE):
        admission.admit(member(number, number / 100), 0.0)
    assert len(table) > AT_ONCE
    admission.look_after(IDLE - 1)
    assert admission.next_deadline() is None
    admission.look_after(IDLE + 1)
    asked = admission.check(IDLE + 1)
    assert len(asked) == AT_ONCE
    assert max(one.seen for one in asked) <= min(one.seen for one in table if one not in asked)


def test_in_a_quiet_network_a_witness_is_asked_before_anybody_is_dropped(
    table: Table, admission: Admission
) -> None:
    dead, alive = member(1), member(2, 50.0)
    admission.admit(dead, 0.0)
    admission.admit(alive, 50.0)
    admission.heard_at = 50.0
    now = 500.0
    for _ in range(FAILURES):
        admission.failed(dead.id, now)
    assert table.get(dead.id) is dead
    assert alive in admission.check(now)
    admission.answered(alive.id, alive.endpoint, now)
    assert admission.check(now + HEARD / 2) == [dead]
    admission.failed(dead.id, now + HEARD / 2 + 0.5)
    assert table.get(dead.id) is None
