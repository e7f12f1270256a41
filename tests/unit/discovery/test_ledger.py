from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import Holding
from p2p.discovery.ledger import BATCH, KEEP, NOW, Ledger

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def connected():
    ledger = Ledger()
    ledger.connect()
    return ledger


def holding(digest, chunks):
    return Holding(digest, 100 << 20, chunks, complete=chunks == 100)


def test_the_first_chunk_and_completion_are_told_at_once_growth_in_batches():
    ledger = connected()
    assert ledger.next_due() is None
    ledger.announce(holding(A, 1), 0.0)
    assert ledger.next_due() == NOW
    assert ledger.take(0.0) == [wire.Announce((holding(A, 1),))]
    ledger.announce(holding(A, 2), 0.1)
    assert ledger.next_due() == 1.1
    assert ledger.take(0.5) == []
    ledger.announce(holding(A, 5), 0.6)
    assert ledger.take(1.1) == [wire.Announce((holding(A, 5),))]
    assert ledger.next_due() is None
    ledger.announce(holding(A, 100), 1.2)
    assert ledger.take(1.2) == [wire.Announce((holding(A, 100),))]


def test_sixteen_chunks_do_not_wait():
    ledger = connected()
    ledger.announce(holding(A, 1), 0.0)
    ledger.take(0.0)
    ledger.announce(holding(A, 17), 0.3)
    assert ledger.take(0.3) == [wire.Announce((holding(A, 17),))]
    ledger.announce(holding(A, 33), 0.31)
    assert ledger.take(0.31) == [], "but not many times a second"
    assert ledger.take(0.41) == [wire.Announce((holding(A, 33),))]


def test_withdrawal():
    ledger = connected()
    ledger.announce(holding(A, 3), 0.0)
    ledger.announce(holding(B, 0), 0.0)
    ledger.take(0.0)
    ledger.announce(holding(A, 4), 0.0)
    ledger.announce(holding(A, 0), 0.0)
    assert ledger.take(5.0) == [wire.Withdraw((A,))]
    assert ledger.holdings == {}


def test_a_lease_that_ended_is_not_had_again_by_a_word_that_crossed():
    ledger = connected()
    assert ledger.granted(A, 7)
    ledger.release(A, 7, done=False)
    assert not ledger.granted(A, 7)
    assert ledger.held(A) == 0
    assert ledger.granted(A, 8)
    ledger.lost(A, 8)
    assert not ledger.granted(A, 8)
    assert ledger.granted(A, 9)
    ledger.unwant(A)
    assert not ledger.granted(A, 9)
    assert ledger.granted(B, 7), "of another blob"
    ledger.connect()
    assert ledger.granted(A, 9), "said after the reconnect, it crossed nothing"
    for epoch in range(KEEP + 1):
        ledger.granted(B, 100 + epoch)
        ledger.release(B, 100 + epoch, done=True)
    assert not ledger.granted(B, 100 + KEEP)
    assert ledger.granted(B, 100), "forgotten"


def test_wants_are_repeated_after_a_reconnect_and_releases_come_before_them():
    ledger = connected()
    want = wire.Want(A, 0, True)
    ledger.want(want)
    assert ledger.take(0.0) == [want]
    ledger.granted(A, 7)
    ledger.progress(A, 7, 100)
    ledger.progress(A, 6, 900)
    assert ledger.take(0.0) == [wire.LeaseProgress(A, 7, 100)]
    ledger.disconnect()
    assert ledger.next_due() is None
    assert ledger.take(1.0) == []
    ledger.connect()
    assert ledger.take(1.0) == [wire.LeaseProgress(A, 7, 100), want]
    ledger.want(want)
    ledger.release(A, 7, done=False)
    assert ledger.take(1.0) == [wire.LeaseRelease(A, 7, False), want]
    ledger.release(A, 7, done=True)
    ledger.unwant(A)
    ledger.unwant(B)
    assert ledger.take(1.0) == [wire.Unwant(A)]


def test_progress_four_times_a_second():
    ledger = connected()
    ledger.granted(A, 7)
    told = []
    for step in range(1, 101):
        ledger.progress(A, 7, step)
        told += ledger.take(step / 100)
    assert 3 <= len(told) <= 5
    assert ledger.held(A) == 7
    ledger.lost(A, 6)
    assert ledger.held(A) == 7
    ledger.lost(A, 7)
    assert ledger.held(A) == 0
    assert ledger.next_due() is None


def test_a_big_store_is_told_in_batches_after_the_wants():
    ledger = Ledger()
    digests = [f"sha256:{i:064x}" for i in range(BATCH * 2 + 1)]
    for digest in digests:
        ledger.announce(holding(digest, 100), 0.0)
    ledger.announce(holding(A, 3), 0.0)
    ledger.want(wire.Want(A, 0, True))
    ledger.connect()
    out = ledger.take(0.0)
    assert [type(one).__name__ for one in out] == ["Announce", "Want", "Announce", "Announce", "Announce"]
    assert [one.digest for one in out[0].holdings] == [A]
    assert sum(len(one.holdings) for one in out if isinstance(one, wire.Announce)) == len(digests) + 1


def test_tags_age_while_they_wait_and_are_bounded():
    ledger = Ledger()
    for number in range(KEEP + 5):
        ledger.seen(wire.ReferenceSeen("r", str(number), A, "m", 1, 1.0), 10.0)
        ledger.report(wire.IntentProgress("j", str(number), "done", 0, ()))
    ledger.connect()
    out = ledger.take(12.0)
    seen = [one for one in out if isinstance(one, wire.ReferenceSeen)]
    assert len(seen) == KEEP
    assert all(one.age == 3.0 for one in seen)
    assert len([one for one in out if isinstance(one, wire.IntentProgress)]) == KEEP
    assert ledger.next_due() is None


def test_asks_end_with_the_connection():
    ledger = connected()
    ledger.ask(wire.AskReference(1, "r", "t"))
    assert ledger.take(0.0) == [wire.AskReference(1, "r", "t")]
    ledger.ask(wire.AskReference(2, "r", "t"))
    ledger.disconnect()
    ledger.connect()
    assert ledger.take(0.0) == []


digests = st.sampled_from([A, B, "sha256:" + "c" * 64])


class Told(RuleBasedStateMachine):
    """Whatever happens, a tracker that was told all that is due within a second knows the truth."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.now = 0.0
        self.holdings, self.wants = {}, {}

    @rule(digest=digests, chunks=st.integers(0, 100))
    def announce(self, digest, chunks):
        self.ledger.announce(holding(digest, chunks), self.now)

    @rule(digest=digests, size=st.integers(0, 5))
    def want(self, digest, size):
        self.ledger.want(wire.Want(digest, size, True))

    @rule(digest=digests)
    def unwant(self, digest):
        self.ledger.unwant(digest)

    @rule()
    def connect(self):
        self.ledger.connect()
        self.holdings, self.wants = {}, {}

    @rule()
    def disconnect(self):
        self.ledger.disconnect()

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds):
        until = self.now + seconds
        while (due := self.ledger.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            messages = self.ledger.take(self.now)
            assert messages, "due, and nothing to tell"
            self.tell(messages)
        self.now = until

    def tell(self, messages):
        for message in messages:
            match message:
                case wire.Announce(holdings=holdings):
                    self.holdings.update((one.digest, one) for one in holdings)
                case wire.Withdraw(digests=gone):
                    for digest in gone:
                        self.holdings.pop(digest, None)
                case wire.Want():
                    self.wants[message.digest] = message
                case wire.Unwant(digest=digest):
                    self.wants.pop(digest, None)

    @invariant()
    def told_when_due(self):
        due = self.ledger.next_due()
        if self.ledger.connected and due is None:
            assert self.wants == self.ledger.wants
            assert self.holdings == self.ledger.holdings
        if due is not None:
            assert due <= self.now + 1.0


Told.TestCase.settings = settings(max_examples=50, deadline=None)
TestTold = pytest.mark.slow(Told.TestCase)


def test_a_lease_of_another_tracker_is_reported_here_too():
    ledger = connected()
    ledger.granted(A, 7, 1)
    assert ledger.next_due() is not None
    assert ledger.take(0.0) == [wire.LeaseProgress(A, 7, 0, 1)]
    ledger.unwant(A)
    assert ledger.take(1.0) == [wire.Unwant(A)], "so that it is not waited for"
    ledger.want(wire.Want(A, 0, True))
    ledger.granted(A, 8, 0)
    ledger.take(2.0)
    ledger.unwant(A, keep=True)
    assert ledger.held(A) == 8
    assert ledger.take(3.0) == [wire.Unwant(A, keep=True)]
    ledger.want(wire.Want(B, 0, True))
    ledger.take(3.0)
    ledger.unwant(B, keep=True)
    assert ledger.take(3.0) == [wire.Unwant(B)], "nothing to keep: a grant that crossed goes back"
