"""When the records of this node's complete blobs are put, put again, and taken back: a pure schedule.

Each is renewed at about half its life, spread by jitter, so that what was announced at once is not renewed
at once; a few at a time, so that lookups for readers have room. What is provided no longer is taken back,
with a few tries: should they fail, it runs out.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from p2p.core.dht.records import LIFE

if TYPE_CHECKING:
    from p2p.core.swarm.rng import Rng

AT_ONCE: Final = 16
RENEW: Final = LIFE / 2
RETRY_FIRST: Final = 1.0
RETRY: Final = 15.0
"""Seconds until a record that too few took is put again: at first, and in the end; doubled each time."""

TRIES: Final = 4
"""How often a record is tried to be taken back."""


class Renewals:
    """The digests that this node provides. Times are seconds of the shell's clock."""

    def __init__(self, rng: Rng, *, at_once: int = AT_ONCE) -> None:
        self._rng = rng
        self._at_once = at_once
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._under_way: dict[str, bool] = {}
        """Digest → whether its record is being taken back."""
        self._placed: set[str] = set()
        """Digests of which others may have a record."""
        self._leaving: set[str] = set()
        self._failed: dict[str, int] = {}
        """How often in a row too few took it."""

    def __len__(self) -> int:
        return len(self._due) - len(self._leaving)

    def leaving(self, digest: str) -> bool:
        """Whether it is provided no longer: what is put takes its record back."""
        return digest in self._leaving

    def add(self, digest: str, now: float) -> None:
        """Provide a blob from now on; one that is provided already keeps its time."""
        if digest not in self._due or digest in self._leaving:
            self._leaving.discard(digest)
            self._failed.pop(digest, None)
            self._set(digest, now)

    def remove(self, digest: str, now: float) -> None:
        """Provide it no longer: a record that others may have is taken back."""
        if digest not in self._due or digest in self._leaving:
            return
        self._failed.pop(digest, None)
        if digest in self._placed:
            self._leaving.add(digest)
            self._set(digest, now)
        else:
            del self._due[digest]

    def take(self, now: float) -> list[str]:
        """Give those to put now, the most overdue first; each must end in ``done``."""
        out: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(self._under_way) < self._at_once:
            due, digest = heapq.heappop(self._heap)
            if self._due.get(digest) == due and digest not in self._under_way:
                self._under_way[digest] = digest in self._leaving
                self._placed.add(digest)
                out.append(digest)
        return out

    def done(self, digest: str, *, stored: bool, now: float) -> None:
        """It was put, or too few took it."""
        took_back = self._under_way.pop(digest)
        if took_back != (digest in self._leaving):
            self._set(digest, now)  # meanwhile the opposite is wanted
            return
        failed = 0 if stored else self._failed.get(digest, 0) + 1
        if took_back and (stored or failed >= TRIES):
            del self._due[digest]
            self._leaving.discard(digest)
            self._placed.discard(digest)
            failed = 0
        else:
            wait = RENEW if stored else min(RETRY, RETRY_FIRST * 2 ** min(failed - 1, 10))
            self._set(digest, now + wait * (0.8 + 0.2 * self._rng.random()))
        if failed:
            self._failed[digest] = failed
        else:
            self._failed.pop(digest, None)

    def next_deadline(self) -> float | None:
        """When ``take`` may have something to give; None too while as many as may be are under way."""
        return self._heap[0][0] if self._heap and len(self._under_way) < self._at_once else None

    def _set(self, digest: str, due: float) -> None:
        self._due[digest] = due
        heapq.heappush(self._heap, (due, digest))
