from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.origin.breaker import Breaker, State, parse_retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_opens_after_failures_in_a_row():
    breaker = Breaker(threshold=3, delay=1.0)
    for _ in range(2):
        breaker.failed(0.0, None)
        assert breaker.allow(0.0)
    breaker.failed(0.0, None)
    assert breaker.state is State.OPEN
    assert not breaker.allow(0.9)
    assert breaker.wait(0.25) == 0.75


def test_success_between_failures_keeps_it_closed():
    breaker = Breaker(threshold=2)
    for _ in range(5):
        breaker.failed(0.0, None)
        breaker.succeeded()
    assert breaker.allow(0.0)


def test_429_opens_at_once_for_what_it_states():
    breaker = Breaker()
    breaker.failed(10.0, 30.0, at_once=True)
    assert not breaker.allow(39.9)
    assert breaker.allow(40.0)
    assert breaker.state is State.HALF_OPEN


def test_stated_pause_is_capped():
    breaker = Breaker(longest_stated=100.0)
    breaker.failed(0.0, 1e9)
    assert breaker.wait(0.0) == 100.0


def test_half_open_lets_one_try_and_doubles():
    breaker = Breaker(threshold=1, delay=1.0, longest=3.0)
    breaker.failed(0.0, None)
    assert breaker.allow(1.0)
    assert not breaker.allow(1.0)
    breaker.failed(1.0, None)
    assert breaker.wait(1.0) == 2.0
    assert breaker.allow(3.0)
    breaker.failed(3.0, None)
    assert breaker.wait(3.0) == 3.0
    assert breaker.allow(6.0)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    breaker.failed(7.0, None)
    assert breaker.wait(7.0) == 1.0


def test_a_try_that_never_reports_back_is_forgotten():
    breaker = Breaker(threshold=1, delay=1.0, patience=5.0)
    breaker.failed(0.0, None)
    assert breaker.allow(1.0)
    assert not breaker.allow(5.9)
    assert breaker.allow(6.0)


def test_late_failures_never_shorten_the_pause():
    breaker = Breaker()
    breaker.failed(0.0, 60.0, at_once=True)
    breaker.failed(1.0, 2.0, at_once=True)
    assert breaker.wait(1.0) == 59.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, 1e9),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60.0),
    ],
)
def test_retry_after(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_retry_after_takes_anything(text):
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0
