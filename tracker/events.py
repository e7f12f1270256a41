"""What can happen to the tracker, and what it asks of its shell. Times are seconds of the shell's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.wire.tracker import (
        ClientHello,
        Intent,
        IntentCancel,
        JobReport,
        LeaseLost,
        NodeHello,
        NodeTable,
        Plan,
        PlansStand,
        ReferenceAnswer,
        Refused,
        ToTracker,
        Welcome,
    )

    FromTracker = (
        Welcome
        | Plan
        | PlansStand
        | LeaseLost
        | ReferenceAnswer
        | Intent
        | IntentCancel
        | JobReport
        | NodeTable
        | Refused
    )


@dataclass(frozen=True, slots=True)
class Connected:
    """Connection ``conn`` (a number never used again) began with ``hello``, from ``address`` (no port)."""

    conn: int
    hello: NodeHello | ClientHello
    address: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone. A no-op for one that the tracker closed itself."""

    conn: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message after the hello."""

    conn: int
    message: ToTracker


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline passed."""


Event = Connected | Disconnected | Received | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Queue a message; a connection whose queue is full is cut, and never slows the others."""

    conn: int
    message: FromTracker


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is queued and close; the tracker has forgotten the connection already."""

    conn: int
    reason: str


Action = Send | Close
