"""Which of several trackers is told, and which one asked, as they come and go: a pure machine.

The first tracker of a key leads while it is there and answers; else the next one does, at once. One that
comes back leads again only after a while, spread over the nodes: it has first to be told who has what and
who streams what. One that stays away gives up its share: the next tracker of those keys is told of them.
Times are seconds of the shell's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.discovery.rendezvous import REPLICAS, ranking

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

OUT_AFTER = 5.0
"""Seconds away after which a tracker's share moves on."""

RETURN = 3.0
"""Seconds between the return of a tracker and its lead: as long as it grants no lease on what it finds."""

SPREAD = 2.0
"""Seconds over which nodes return to it."""


@dataclass(slots=True)
class _Tracker:
    up: bool = False
    silent: bool = False
    was_up: bool = False
    leads_at: float = 0.0
    out_at: float = 0.0
    out: bool = False
    leads: bool = False


class Standing:
    """Trackers by their place in ``names``. ``changed`` counts changes of who leads or is in charge."""

    def __init__(self, names: Sequence[str], rng: Random, now: float) -> None:
        self._names = tuple(names)
        self._rng = rng
        self._trackers = [_Tracker(out_at=now + OUT_AFTER) for _ in names]
        self.changed = 0

    @property
    def any_up(self) -> bool:
        """Whether any is connected."""
        return any(one.up for one in self._trackers)

    def up(self, place: int, now: float) -> None:
        """A tracker said welcome. The first time it leads at once: nothing was asked elsewhere for long."""
        one = self._trackers[place]
        one.up, one.silent, one.out = True, False, False
        one.leads_at = self._return(now) if one.was_up else now
        one.leads = one.leads_at <= now
        one.was_up = True
        self.changed += 1

    def down(self, place: int, now: float) -> None:
        """A tracker's connection is gone, or could not be made."""
        one = self._trackers[place]
        if one.up:
            one.up = one.leads = one.silent = False
            one.out_at = now + OUT_AFTER
            self.changed += 1

    def silent(self, place: int) -> None:
        """A connected tracker does not answer: others lead until it does."""
        one = self._trackers[place]
        if one.up and not one.silent and len(self._trackers) > 1:
            one.silent, one.leads = True, False
            self.changed += 1

    def spoke(self, place: int, now: float) -> None:
        """A tracker said something."""
        one = self._trackers[place]
        if one.silent:
            one.silent = False
            one.leads_at = self._return(now)

    def leader(self, key: str) -> int | None:
        """Give the tracker to be asked about a key; None while none is connected."""
        order = self.ranking(key)
        for wanted in (_leads, _answers, _is_up):
            for place in order:
                if wanted(self._trackers[place]):
                    return place
        return None

    def charge(self, key: str) -> tuple[int, ...]:
        """Give the trackers to be told about a key, whether or not they are there just now."""
        order = self.ranking(key)
        if len(order) <= REPLICAS:
            return order
        return tuple(sorted(order, key=lambda place: self._trackers[place].out)[:REPLICAS])

    def ranking(self, key: str) -> tuple[int, ...]:
        """Give all trackers, the key's first one first."""
        return ranking(self._names, key)

    def tick(self, now: float) -> None:
        """Let time pass: returned ones lead, those that stay away are out."""
        for one in self._trackers:
            if one.up and not one.silent and not one.leads and one.leads_at <= now:
                one.leads = True
                self.changed += 1
            if not one.up and not one.out and one.out_at <= now:
                one.out = True
                self.changed += 1

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        due = [one.leads_at for one in self._trackers if one.up and not one.silent and not one.leads]
        due += [one.out_at for one in self._trackers if not one.up and not one.out]
        return min(due, default=None)

    def _return(self, now: float) -> float:
        return now + RETURN + SPREAD * self._rng.random()


def _leads(one: _Tracker) -> bool:
    return one.leads


def _answers(one: _Tracker) -> bool:
    return one.up and not one.silent


def _is_up(one: _Tracker) -> bool:
    return one.up
