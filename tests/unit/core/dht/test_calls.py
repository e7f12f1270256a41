from __future__ import annotations

from p2p.core.dht.calls import LAG, PROOFS, REMEMBERED, RESEND, Call, Calls, Outcome, with_token
from p2p.core.dht.contact import Endpoint
from p2p.core.dht.messages import NO_TOKEN, Find, Ping, Put, Request
from tests.support.dht_rig import record_of

HERE, THERE = Endpoint(b"\x0a\0\0\1", 1), Endpoint(b"\x0a\0\0\2", 1)
TOKEN = b"t" * 16


def call(number: int, due: float = RESEND, lookup: int = 1) -> Call:
    return Call(Ping(b"%08d" % number, bytes(20), NO_TOKEN), HERE, b"", lookup, due)


def test_sent_again_once_then_given_up() -> None:
    calls, one = Calls(), call(1)
    calls.begin(one)
    assert calls.next_deadline() == RESEND
    assert calls.overdue(0.2) == []
    assert calls.overdue(RESEND) == [(one, Outcome.RESENT)]
    assert calls.overdue(2 * RESEND) == [(one, Outcome.GIVEN_UP)]
    assert (len(calls), calls.next_deadline()) == (0, None)


def test_only_who_was_asked_answers() -> None:
    calls, one = Calls(), call(1)
    calls.begin(one)
    assert calls.find(one.message.request, HERE) is one
    assert calls.find(one.message.request, THERE) is None
    assert calls.find(b"%08d" % 2, HERE) is None
    calls.end(one)
    calls.end(one)
    assert calls.find(one.message.request, HERE) is None
    assert calls.overdue(1.0) == []


def test_a_challenge_puts_it_off_and_is_met_twice_at_most() -> None:
    calls, one = Calls(), call(1)
    calls.begin(one)
    for turn in range(PROOFS):
        assert calls.prove(one, TOKEN, 0.1 + turn)
    assert one.message == Ping(one.message.request, bytes(20), TOKEN)
    assert not calls.prove(one, TOKEN, 2.0)
    assert calls.overdue(1.3) == [], "put off"
    assert calls.overdue(1.35) == [(one, Outcome.RESENT)]


def test_who_comes_late_himself_blames_nobody() -> None:
    calls, one = Calls(), call(1)
    calls.begin(one)
    late = RESEND + LAG + 0.5
    assert calls.overdue(late) == []
    assert calls.overdue(late + RESEND) == [(one, Outcome.RESENT)]
    assert calls.overdue(late + 9) == [(one, Outcome.GIVEN_UP)], "once"


def test_a_lookup_that_ends_takes_its_calls_along() -> None:
    calls = Calls(capacity=3)
    for number in range(3):
        calls.begin(call(number, lookup=number % 2))
    assert calls.full
    calls.end_lookup(0)
    assert (len(calls), calls.full) == (1, False)


def test_the_same_request_under_another_token() -> None:
    record = record_of(1, b"k" * 20)
    requests: list[Request] = [
        Ping(bytes(8), bytes(20), NO_TOKEN),
        Find(bytes(8), bytes(20), NO_TOKEN, b"k" * 20, True),
        Put(bytes(8), bytes(20), NO_TOKEN, record),
    ]
    for request in requests:
        other = with_token(request, TOKEN)
        assert other.token == TOKEN
        assert with_token(other, NO_TOKEN) == request


def test_a_late_answer_is_known_for_one_once() -> None:
    calls, one, other = Calls(), call(1), call(2, lookup=7)
    calls.begin(one)
    calls.begin(other)
    calls.overdue(RESEND)
    calls.overdue(2 * RESEND)
    assert not calls.was_asked(one.message.request, THERE)
    calls.end_lookup(7)
    assert calls.was_asked(other.message.request, HERE)
    assert not calls.was_asked(other.message.request, HERE)
    for number in range(3 * REMEMBERED):
        calls.begin(call(number, lookup=3))
        calls.end_lookup(3)
    assert len(calls._given_up) == REMEMBERED
