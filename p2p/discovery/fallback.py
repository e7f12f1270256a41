"""When a want goes on without the tracker, and when this node may claim the origin: a pure machine.

A want that the tracker does not answer within ``ANSWER`` seconds, or whose plans stop coming, is answered
from known peers until the tracker speaks again. Times are seconds of the shell's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.swarm.events import LeaseState

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = 1.0
"""How long a connected tracker is waited for. One that is merely busy must not cost copies from the origin;
one that is gone is known to be gone, and then nobody waits."""
PLAN_LIFE = 4.0
"""Seconds without a plan after which the tracker counts as silent: it pushes every 2, valid for 3."""

REPEAT = 2.0
"""Seconds between two answers from known peers: meanwhile more of them may have been met."""


@dataclass(slots=True)
class _Want:
    lease: bool
    due: float
    static: bool = False
    claim_at: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a want from known peers, with this word on the origin."""

    digest: str
    lease: LeaseState


class Fallback:
    """All wants by digest. ``claim_delay(digest)`` gives the seconds before this node may claim it."""

    def __init__(self, claim_delay: Callable[[str], float]) -> None:
        self._claim_delay = claim_delay
        self._wants: dict[str, _Want] = {}

    def __len__(self) -> int:
        return len(self._wants)

    def want(self, digest: str, *, lease: bool, tracker: bool, now: float) -> None:
        """Begin or repeat a want; ``tracker``: it was asked just now and may answer.

        A claim that is running or granted lives on: asking again does not send a node to the end.
        """
        before = self._wants.get(digest)
        static = before is not None and before.static
        claim_at = before.claim_at if before is not None and lease else None
        waits = tracker and not static
        self._wants[digest] = _Want(lease, now + ANSWER if waits else now, static, claim_at)

    def unwant(self, digest: str) -> None:
        """End a want."""
        self._wants.pop(digest, None)

    def answered(self, digest: str, now: float) -> None:
        """The tracker sent a plan: it leads, and any claim without it is void."""
        want = self._wants.get(digest)
        if want is not None:
            want.static, want.claim_at, want.due = False, None, now + PLAN_LIFE

    def released(self, digest: str) -> None:
        """The node gave up its claim: it waits its turn before another."""
        want = self._wants.get(digest)
        if want is not None:
            want.claim_at = None

    def tracker_lost(self, now: float) -> None:
        """Go on without the tracker everywhere, at once."""
        for want in self._wants.values():
            want.due = min(want.due, now)

    def take(self, now: float) -> list[Answer]:
        """Give the answers that are due."""
        out: list[Answer] = []
        for digest, want in self._wants.items():
            if want.due > now:
                continue
            want.static = True
            want.due = now + REPEAT
            if not want.lease:
                out.append(Answer(digest, LeaseState.UNASKED))
                continue
            if want.claim_at is None:
                want.claim_at = now + self._claim_delay(digest)
            if want.claim_at <= now:
                out.append(Answer(digest, LeaseState.GRANTED))
            else:
                # "Held", by whoever comes first: the swarm waits for its peers, or for our turn.
                want.due = min(want.due, want.claim_at)
                out.append(Answer(digest, LeaseState.HELD))
        return out

    def next_deadline(self) -> float | None:
        """When ``take`` has something to give."""
        return min((want.due for want in self._wants.values()), default=None)
