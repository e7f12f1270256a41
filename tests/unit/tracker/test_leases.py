from __future__ import annotations

import pytest

from tracker.leases import (
    BACKOFF,
    DONE_WAIT,
    HORIZON,
    PATIENCE,
    Candidate,
    LeaseTable,
    Standing,
)

A, B, C = Candidate("a", 0), Candidate("b", 0), Candidate("c", 5)


def test_the_first_come_wins_among_equals_and_most_chunks_before():
    leases = LeaseTable()
    assert leases.grant("d", [A, B], 0.0).holder == "a"
    assert leases.grant("e", [A, B, C], 0.0).holder == "c"
    assert len(leases) == 2
    with pytest.raises(ValueError, match="held by a"):
        leases.grant("d", [B], 1.0)


def test_an_overdue_holder_keeps_it_while_nobody_else_wants():
    leases = LeaseTable()
    leases.grant("d", [A], 0.0)
    assert leases.overdue(PATIENCE) == ["d"]
    assert leases.grant("d", [A], PATIENCE) is None
    assert leases.find("d").holder == "a"
    assert leases.grant("d", [A, B], 9.0).holder == "b"
    assert leases.grant("e", [], 9.0) is None


def test_patience_grows_until_somebody_gets_a_byte():
    leases = LeaseTable()
    now = 0.0
    waits = []
    lease = leases.grant("d", [A], now)
    for turn in range(6):
        waits.append(lease.due - now)
        now = lease.due
        lease = leases.grant("d", [B] if turn % 2 == 0 else [A], now)
    assert waits == [3, 6, 12, 24, 30, 30]
    leases.progress("d", 5, now)
    now = lease.due
    lease = leases.grant("d", [Candidate("new", 0)], now)
    assert lease.due - now == PATIENCE


def test_timers_follow_progress():
    leases = LeaseTable()
    leases.grant("d", [A], 0.0)
    leases.progress("d", 10, 2.0)
    assert leases.overdue(3.0) == []
    assert leases.next_deadline() == 5.0
    assert leases.overdue(5.0) == ["d"]
    leases.progress("d", 20, 6.0)
    assert leases.next_deadline() == 9.0
    leases.progress("d", 20, 7.0)
    assert leases.find("d").due == 9.0


def test_done_holds_others_off_for_a_while():
    leases = LeaseTable()
    leases.grant("d", [A], 0.0)
    leases.done("d", 1.0)
    assert leases.find("d").done
    assert leases.overdue(1.0 + DONE_WAIT) == ["d"]
    assert leases.find("d") is None
    assert leases.next_deadline() is None


def test_failures_wait_and_are_forgotten():
    leases = LeaseTable()
    leases.grant("d", [A, B], 0.0)
    leases.failed("d", 1.0)
    assert leases.grant("d", [A, B], 1.0).holder == "b"
    leases.failed("d", 1.0)
    assert leases.grant("d", [A, B], 1.5) is None
    assert leases.overdue(1.0 + BACKOFF) == ["d"]
    assert leases.grant("d", [A, B], 1.0 + BACKOFF).holder == "a"
    leases.clear("d")
    for _ in range(5):
        if (due := leases.next_deadline()) is not None:
            leases.overdue(due)
    assert leases.next_deadline() is None
    assert not leases._turns


def test_alone_the_wait_grows():
    leases = LeaseTable()
    now, waits = 0.0, []
    for _ in range(6):
        assert leases.grant("d", [A], now) is not None
        leases.failed("d", now)
        assert leases.grant("d", [A], now) is None
        waits.append(leases.next_deadline() - now)
        now += waits[-1]
        leases.overdue(now)
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_standing_and_adoption():
    leases = LeaseTable(first_epoch=100)
    assert leases.standing("a", "d", 100 + HORIZON) is Standing.LOST, "no clock is so far ahead"
    assert leases.standing("a", "d", 0) is Standing.LOST
    assert leases.standing("a", "d", 99) is Standing.FREE
    leases.adopt("a", "d", 99, 0.0)
    assert leases.standing("a", "d", 99) is Standing.HELD
    assert leases.standing("b", "d", 99) is Standing.LOST
    with pytest.raises(ValueError, match="99"):
        leases.adopt("b", "d", 99, 0.0)
    assert leases.grant("e", [A], 0.0).epoch == 100
    assert sorted(leases.leave("a")) == ["d", "e"]
    assert leases.leave("a") == []
    assert leases.items() == []
    assert len(leases) == 0


def test_whose_lease_prevails():
    leases = LeaseTable(first_epoch=100)
    own = leases.grant("d", [Candidate("a", 0, rank=1)], 0.0)
    assert leases.standing("b", "d", own.epoch + 5, rank=1) is Standing.LOST, (
        "this tracker is the one of rank 1"
    )
    assert leases.standing("b", "d", 7, rank=2) is Standing.LOST
    assert leases.standing("b", "d", 7, rank=0) is Standing.PREVAILS
    leases.adopt("b", "d", 7, 0.0, rank=0)
    assert leases.standing("a", "d", own.epoch, rank=1) is Standing.LOST
    assert leases.standing("c", "d", 8, rank=0) is Standing.PREVAILS, (
        "the newer one of the same other tracker"
    )
    assert leases.standing("c", "d", 6, rank=0) is Standing.LOST
    leases.adopt("c", "d", 8, 0.0, rank=0)
    assert [(digest, lease.holder) for digest, lease in leases.items()] == [("d", "c")]
    assert len(leases) == 1
    assert leases.grant("e", [Candidate("a", 0)], 0.0).epoch == 101
    leases.adopt("c", "f", 500, 0.0)
    assert leases.grant("g", [Candidate("a", 0)], 0.0).epoch == 501
