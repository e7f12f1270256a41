"""A breaker for one upstream: when it limits us (429) or is broken (5xx), leave it in peace.

::

    closed ──429, Retry-After, or `threshold` failures in a row──► open ──its time is over──► half-open
      ▲                                                              ▲                            │
      └──────────────────────────────── succeeded ◄──────────────────┼── one request tries ───────┘
                                                                     └── failed: twice as long

Pure: ``now`` in seconds of any steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum


class State(Enum):
    """Of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """``threshold`` failures in a row open it for ``delay`` seconds, doubling up to ``longest``.

    A stated Retry-After opens it at once, for that long, but no longer than ``longest_stated``: an upstream
    can't switch itself off for a week. A half-open breaker lets one request try; one that never reports
    back (cancelled) is forgotten after ``patience`` seconds.
    """

    threshold: int = 5
    delay: float = 1.0
    longest: float = 60.0
    longest_stated: float = 900.0
    patience: float = 10.0
    state: State = State.CLOSED
    failures: int = 0
    _next_delay: float = field(default=0.0, repr=False)
    _until: float = field(default=0.0, repr=False)
    _trial_until: float = field(default=0.0, repr=False)

    def allow(self, now: float) -> bool:
        """Whether a request may go out now; in half-open the caller that gets True is the one to try."""
        match self.state:
            case State.CLOSED:
                return True
            case State.OPEN if now < self._until:
                return False
            case State.HALF_OPEN if now < self._trial_until:
                return False
            case _:
                self.state = State.HALF_OPEN
                self._trial_until = now + self.patience
                return True

    def wait(self, now: float) -> float:
        """Seconds until asking again can make sense; 0 where it does now."""
        match self.state:
            case State.CLOSED:
                return 0.0
            case State.OPEN:
                return max(0.0, self._until - now)
            case State.HALF_OPEN:
                return max(0.0, self._trial_until - now)

    def succeeded(self) -> None:
        """Take an answer that is neither 429 nor 5xx."""
        self.state = State.CLOSED
        self.failures = 0
        self._next_delay = 0.0

    def failed(self, now: float, retry_after: float | None, *, at_once: bool = False) -> None:
        """Take a 429 (``at_once``) or a 5xx; ``retry_after`` in seconds where the answer stated one."""
        self.failures += 1
        trying = self.state is State.HALF_OPEN
        if not (trying or at_once or retry_after is not None or self.failures >= self.threshold):
            return
        if retry_after is None:
            self._next_delay = min(self.longest, self._next_delay * 2 or self.delay)
            pause = self._next_delay
        else:
            pause = min(max(retry_after, 0.0), self.longest_stated)
        # Requests that were under way when it opened report later: they never shorten the pause.
        until = now + pause
        self._until = max(self._until, until) if self.state is State.OPEN else until
        self.state = State.OPEN


def parse_retry_after(value: str | None, wall_now: datetime) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 §10.2.3: seconds or an HTTP date); None if senseless."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(int(text[:9])) if len(text) <= 9 else 1e9
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - wall_now).total_seconds())
