from __future__ import annotations

from random import Random

import pytest

from p2p.notifications.backoff import LONGEST_WISH, Backoff, parse_retry_after
from tests.support.happenings import NOW


def test_it_doubles_up_to_a_limit_with_jitter() -> None:
    backoff, rng = Backoff(1.0, 60.0), Random(1)
    for failures, most in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10_000, 60.0)]:
        delays = [backoff.delay(failures, rng) for _ in range(50)]
        assert most / 2 <= min(delays) < max(delays) <= most


def test_a_wish_is_respected_within_reason() -> None:
    backoff, rng = Backoff(1.0, 60.0), Random(1)
    assert backoff.delay(1, rng, wish=30.0) == 30.0
    assert backoff.delay(7, rng, wish=1.0) >= 30.0
    assert backoff.delay(1, rng, wish=1e12) == LONGEST_WISH


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("9" * 400, 999_999_999_999.0),
        ("Wed, 25 Nov 2026 01:03:03 GMT", 59.544),
        ("Wed, 25 Nov 2026 01:03:03 -0000", 59.544),
        ("Wed, 25 Nov 2020 01:03:03 GMT", 0.0),
        ("Wed, 99 Nov 2026 01:03:03 GMT", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == pytest.approx(seconds)
