"""How long a sink that failed is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

LONGEST_WISH = 3600.0
"""A receiver that wants to be left alone for longer than this is asked again after it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from ``first`` to ``limit`` seconds, each less a random part of a half."""

    first: float = 1.0
    limit: float = 300.0

    def delay(self, failures: int, rng: Random, *, wish: float = 0.0) -> float:
        """Give the seconds to wait after so many failures in a row (from 1); ``wish`` is a Retry-After."""
        grown: float = min(self.limit, self.first * 2.0 ** min(failures - 1, 32))
        return max(grown * rng.uniform(0.5, 1.0), min(wish, LONGEST_WISH))


def parse_retry_after(value: str, now: datetime) -> float:
    """Give a Retry-After (RFC 9110, 10.2.3) in seconds from ``now``; 0 for none and for what is none."""
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if at.tzinfo is None:  # RFC 5322's "-0000": UTC of unknown origin
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
