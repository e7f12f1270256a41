"""When a want goes on without the tracker, when the DHT is asked, and when this node may claim the origin.

A pure machine. A want that the tracker does not answer within ``ANSWER`` seconds, or whose plans stop coming,
is answered from known peers until the tracker speaks again. The DHT is asked a little later than they, unless
a plan has named somebody by then, and a claim waits for what it says. Times are seconds of the shell's clock.
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

ASKED = 1.2
"""Seconds that a claim waits for the DHT: a lookup ends after one."""
FOUND = 2.0
"""Seconds that providers of the DHT are given to be of use, before a claim goes on."""

REPEAT = 2.0
"""Seconds between two answers from known peers: meanwhile more of them may have been met."""


@dataclass(slots=True)
class _Want:
    lease: bool
    due: float
    static: bool = False
    claim_at: float | None = None
    began: float = 0.0
    """When the turn was first reckoned: by the time it comes more nodes may be known, and come before."""
    claimed: bool = False
    dht: bool = False
    dht_at: float | None = None
    """When the DHT is to be asked; None: it was, or need not be."""
    dht_asked: bool = False
    patient_until: float = float("-inf")
    """Until then a claim waits for the DHT, or for those that it named."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a want from known peers, with this word on the origin."""

    digest: str
    lease: LeaseState


@dataclass(frozen=True, slots=True)
class AskDht:
    """Ask the DHT, or ask it again: what the want says has changed."""

    digest: str


class Fallback:
    """All wants by digest. ``claim_delay(digest)`` gives the seconds before this node may claim it.

    ``dht_delay()`` gives those before the DHT is asked; None: there is no DHT.
    """

    def __init__(
        self, claim_delay: Callable[[str], float], dht_delay: Callable[[], float] | None = None
    ) -> None:
        self._claim_delay = claim_delay
        self._dht_delay = dht_delay
        self._wants: dict[str, _Want] = {}

    def __len__(self) -> int:
        return len(self._wants)

    def want(self, digest: str, *, lease: bool, tracker: bool, now: float, dht: bool = True) -> None:
        """Begin or repeat a want; ``tracker``: it was asked just now and may answer; ``dht``: may be asked.

        A claim that is running or granted lives on: asking again does not send a node to the end.
        """
        before = self._wants.get(digest)
        static = before is not None and before.static
        waits = tracker and not static
        want = self._wants[digest] = _Want(lease, now + ANSWER if waits else now, static)
        if before is not None and lease:
            want.claim_at, want.began, want.claimed = before.claim_at, before.began, before.claimed
        want.dht = dht and self._dht_delay is not None
        if self._dht_delay is None or not dht:
            return
        if before is None:
            want.dht_at = now + self._dht_delay()
            want.patient_until = want.dht_at + ASKED
        else:
            want.dht_asked, want.patient_until = before.dht_asked, before.patient_until
            want.dht_at = now if before.dht_asked else before.dht_at

    def unwant(self, digest: str) -> None:
        """End a want."""
        self._wants.pop(digest, None)

    def answered(self, digest: str, now: float, *, providers: bool = True) -> None:
        """The tracker sent a plan, with ``providers`` or none: it leads, and a claim without it is void."""
        want = self._wants.get(digest)
        if want is not None:
            want.static, want.claim_at, want.due = False, None, now + PLAN_LIFE
            want.claimed = False
            if providers:
                want.dht_at = None

    def dht_answered(self, digest: str, now: float, *, found: bool) -> None:
        """The DHT found providers, which get their chance before a claim, or it found none."""
        want = self._wants.get(digest)
        if want is None:
            return
        if not found:
            want.patient_until = float("-inf")
        elif now < want.patient_until:
            want.patient_until = now + FOUND
        if want.static:
            want.due = min(want.due, now)

    def released(self, digest: str) -> None:
        """The node gave up its claim: it waits its turn before another."""
        want = self._wants.get(digest)
        if want is not None:
            want.claim_at, want.claimed = None, False

    def tracker_lost(self, now: float) -> None:
        """Go on without the tracker everywhere, at once."""
        for want in self._wants.values():
            want.due = min(want.due, now)
            if want.dht and not want.dht_asked:
                want.dht_at = now
                want.patient_until = now + ASKED

    def take(self, now: float) -> list[Answer | AskDht]:
        """Give the answers and questions that are due."""
        out: list[Answer | AskDht] = []
        for digest, want in self._wants.items():
            if want.dht_at is not None and want.dht_at <= now:
                want.dht_at, want.dht_asked = None, True
                out.append(AskDht(digest))
            if want.due > now:
                continue
            want.static = True
            want.due = now + REPEAT
            if not want.lease:
                out.append(Answer(digest, LeaseState.UNASKED))
                continue
            if want.claim_at is None:
                want.began, want.claim_at = now, now + self._claim_delay(digest)
            elif want.claim_at <= now and not want.claimed:
                want.claim_at = max(want.claim_at, want.began + self._claim_delay(digest))
            turn = max(want.claim_at, want.patient_until)
            if turn <= now:
                want.claimed = True
                out.append(Answer(digest, LeaseState.GRANTED))
            else:
                # "Held", by whoever comes first: the swarm waits for its peers, or for our turn.
                want.due = min(want.due, turn)
                out.append(Answer(digest, LeaseState.HELD))
        return out

    def next_deadline(self) -> float | None:
        """When ``take`` has something to give."""
        times = [want.due for want in self._wants.values()]
        times += [want.dht_at for want in self._wants.values() if want.dht_at is not None]
        return min(times, default=None)
