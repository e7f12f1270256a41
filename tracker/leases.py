"""Who streams a digest from the origin: one node at a time, under an epoch that is never given twice.

A lease lives by progress. ``PATIENCE`` seconds without it and another wanter may have it; each steal from a
holder that never got a byte doubles the patience for this digest, so that a slow origin does not send the
lease round in circles. A holder that failed is not asked again for ``BACKOFF`` seconds unless it is alone.

Where a digest has several trackers, holders tell all of them how they get on, so each knows the lease that
another one granted and goes on with it when that one is gone. Two that granted at once are told apart by
rank: the lease of the digest's first tracker is the one that counts.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 3.0
PATIENCE_MOST = 30.0
BACKOFF = 2.0
ALONE_FIRST = 0.1
DONE_WAIT = 10.0
"""Seconds between a holder's word that it is done and its announcement (it syncs the disk in between)."""

HORIZON = 1 << 33
"""How far above the next one an epoch that a node tells may be: epochs begin with a clock's milliseconds, and
trackers' clocks may differ."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that would stream the digest, how many of its chunks it has, and how it ranks this tracker."""

    node: str
    chunks: int
    rank: int = 0


@dataclass(slots=True)
class Lease:
    """``holder`` streams under ``epoch`` and came to ``offset`` bytes; others may have it from ``due`` on.

    ``done``: the stream ended well, and the holder's announcement of the whole blob is awaited. ``rank``:
    of the tracker that granted it, 0 the first one of the digest; ``told``: that was another one.
    """

    holder: str
    epoch: int
    due: float
    offset: int = -1
    done: bool = False
    rank: int = 0
    told: bool = False


class Standing(Enum):
    """What a message about a lease meets: it holds, is lost, is free, or prevails over another one."""

    HELD = "held"
    LOST = "lost"
    FREE = "free"
    PREVAILS = "prevails"


@dataclass(slots=True)
class _Turn:
    lease: Lease | None = None
    stalls: int = 0
    failures: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Node → (when it failed last, how often in a row)."""
    timer: float = float("inf")
    """When the digest comes up next; heap entries of other times are stale."""


class LeaseTable:
    """Leases by digest. ``first_epoch`` must be above all that an earlier tracker gave.

    ``patience``: seconds without progress, ``PATIENCE`` if not given.
    """

    def __init__(self, first_epoch: int = 1, patience: float | None = None) -> None:
        self._patience = PATIENCE if patience is None else patience
        self._next_epoch = first_epoch
        self._turns: dict[str, _Turn] = {}
        self._held: dict[str, dict[str, None]] = {}
        self._timers: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return sum(len(digests) for digests in self._held.values())

    def find(self, digest: str) -> Lease | None:
        """Give the lease of a digest, overdue or not."""
        turn = self._turns.get(digest)
        return turn.lease if turn else None

    def items(self) -> list[tuple[str, Lease]]:
        """Give all leases, for show."""
        return [(digest, turn.lease) for digest, turn in self._turns.items() if turn.lease]

    def grant(self, digest: str, candidates: Sequence[Candidate], now: float) -> Lease | None:
        """Give the lease, which is free or overdue, to the best candidate: most chunks, then first come.

        None where all must wait after a failure (the digest comes up in ``overdue`` when that is over),
        or where there is nobody but the present holder. ValueError if the lease is held and not overdue.
        """
        turn = self._turns.setdefault(digest, _Turn())
        old = turn.lease
        if old is not None and old.due > now:
            raise ValueError(f"the lease of {digest} is held by {old.holder}")
        others = [one for one in candidates if old is None or one.node != old.holder]
        alone = len(others) == 1 and old is None
        ready = [(one, self._ready_at(turn, one.node, alone=alone)) for one in others]
        able = [one for one, at in ready if at <= now]
        if not able:
            if ready:
                self.wake(digest, min(at for _, at in ready))
            else:
                self._prune(digest, now)
            return None
        if old is not None:
            turn.stalls = turn.stalls + 1 if old.offset < 0 else 0
            self._end(digest, turn)
            turn.failures[old.holder] = (now, 1)
        best = max(able, key=lambda one: one.chunks)
        epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        return self._begin(digest, turn, Lease(best.node, epoch, now, rank=best.rank), now)

    def standing(self, node: str, digest: str, epoch: int, rank: int = 0) -> Standing:
        """Tell whether ``node`` holds ``epoch``, lost it, or may have it back as nobody else holds it.

        Between two leases the one of the better tracker prevails, and of two by the same other tracker the
        newer one.
        """
        lease = self.find(digest)
        believable = 0 < epoch < self._next_epoch + HORIZON
        if lease is None:
            return Standing.FREE if believable else Standing.LOST
        if (lease.holder, lease.epoch) == (node, epoch):
            return Standing.HELD
        newer = lease.told and rank == lease.rank and epoch > lease.epoch
        return Standing.PREVAILS if believable and (newer or rank < lease.rank) else Standing.LOST

    def adopt(self, node: str, digest: str, epoch: int, now: float, rank: int = 0) -> Lease:
        """Take over a lease that this tracker (or one before it, or beside it) granted.

        ValueError unless its ``standing`` is FREE or PREVAILS.
        """
        if self.standing(node, digest, epoch, rank) not in (Standing.FREE, Standing.PREVAILS):
            raise ValueError(f"epoch {epoch} of {digest} can't be adopted")
        turn = self._turns.setdefault(digest, _Turn())
        if turn.lease is not None:
            self._end(digest, turn)
        self._next_epoch = max(self._next_epoch, epoch + 1)
        return self._begin(digest, turn, Lease(node, epoch, now, rank=rank, told=True), now)

    def progress(self, digest: str, offset: int, now: float) -> None:
        """Keep a held lease if the stream moved on."""
        turn = self._turns[digest]
        lease = turn.lease
        assert lease is not None
        if offset > max(lease.offset, 0) and not lease.done:
            lease.offset = offset
            turn.stalls = 0
            turn.failures.pop(lease.holder, None)
            overdue = lease.due <= now
            lease.due = now + self._patience
            if overdue:
                self.wake(digest, lease.due)

    def done(self, digest: str, now: float) -> None:
        """The held stream ended well: nobody else is to begin until its blob is announced."""
        lease = self.find(digest)
        assert lease is not None
        lease.done = True
        lease.due = now + DONE_WAIT
        self.wake(digest, lease.due)

    def failed(self, digest: str, now: float) -> None:
        """The holder gave up: it waits before it is asked again."""
        turn = self._turns[digest]
        lease = turn.lease
        assert lease is not None
        _, times = turn.failures.get(lease.holder, (now, 0))
        turn.failures[lease.holder] = (now, times + 1)
        self._end(digest, turn)
        self.wake(digest, now + BACKOFF)

    def clear(self, digest: str) -> None:
        """End a lease without blame: its blob is here, or its holder no longer wants it."""
        turn = self._turns.get(digest)
        if turn is not None and turn.lease is not None:
            self._end(digest, turn)
            if turn.failures:
                self.wake(digest, max(when for when, _ in turn.failures.values()))
            else:
                del self._turns[digest]

    def leave(self, node: str) -> list[str]:
        """End all leases of a node that is gone; gives their digests."""
        digests = list(self._held.get(node, ()))
        for digest in digests:
            self.clear(digest)
        return digests

    def wake(self, digest: str, at: float) -> None:
        """Have the digest come up in ``overdue`` at ``at``."""
        turn = self._turns.setdefault(digest, _Turn())
        if at < turn.timer:
            turn.timer = at
            heapq.heappush(self._timers, (at, digest))

    def overdue(self, now: float) -> list[str]:
        """Give digests whose lease may be given (again): overdue, free after a failure, or woken."""
        found: list[str] = []
        while self._timers and self._timers[0][0] <= now:
            at, digest = heapq.heappop(self._timers)
            turn = self._turns.get(digest)
            if turn is None or turn.timer != at:
                continue
            turn.timer = float("inf")
            if turn.lease is not None and turn.lease.due > now:
                # Progress does not touch the heap: the timer follows when it goes off.
                self.wake(digest, turn.lease.due)
                continue
            if turn.lease is not None and turn.lease.done:
                self._end(digest, turn)
            found.append(digest)
            self._prune(digest, now)
        return found

    def next_deadline(self) -> float | None:
        """When ``overdue`` has something to look at."""
        while self._timers:
            at, digest = self._timers[0]
            turn = self._turns.get(digest)
            if turn is not None and turn.timer == at:
                return at
            heapq.heappop(self._timers)
        return None

    def _begin(self, digest: str, turn: _Turn, lease: Lease, now: float) -> Lease:
        patience = min(self._patience * 2**turn.stalls, PATIENCE_MOST) if turn.stalls < 8 else PATIENCE_MOST
        turn.lease = lease
        lease.due = now + patience
        self._held.setdefault(lease.holder, {})[digest] = None
        self.wake(digest, lease.due)
        return lease

    def _end(self, digest: str, turn: _Turn) -> None:
        assert turn.lease is not None
        held = self._held[turn.lease.holder]
        del held[digest]
        if not held:
            del self._held[turn.lease.holder]
        turn.lease = None

    def _ready_at(self, turn: _Turn, node: str, *, alone: bool) -> float:
        if node not in turn.failures:
            return float("-inf")
        when, times = turn.failures[node]
        # Alone it need not wait its turn, but a failing origin is not to be asked in a tight loop either.
        return when + (min(ALONE_FIRST * 2 ** min(times, 8), BACKOFF) if alone else BACKOFF)

    def _prune(self, digest: str, now: float) -> None:
        turn = self._turns.get(digest)
        if turn is None:
            return
        # Failures in a row are remembered a little longer than they count, so that the wait can grow.
        turn.failures = {n: f for n, f in turn.failures.items() if f[0] + 2 * BACKOFF > now}
        if turn.lease is None and not turn.failures:
            del self._turns[digest]
        elif turn.lease is None:
            self.wake(digest, min(when for when, _ in turn.failures.values()) + 2 * BACKOFF)
