"""What the tracker must be told, and when: the pure half of the tracker's client.

It keeps what is true (holdings, wants, leases), not a queue of messages. So its size is that of the truth,
a slow tracker gets the latest state instead of a backlog, and after a (re)connect all is told afresh.
Times are seconds of the shell's clock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from p2p.core.wire.tracker import (
    Announce,
    AskReference,
    IntentProgress,
    LeaseProgress,
    LeaseRelease,
    ReferenceSeen,
    ReferenceUnseen,
    ToTracker,
    Unwant,
    Want,
    Withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.core.wire.common import Holding

_T = TypeVar("_T")

NOW = float("-inf")
"""A time that has always come."""

BATCH = 500
"""Holdings in one message."""

CHUNKS = 16
"""New chunks after which a batch does not wait for its time."""

GROWTH_PAUSE = 0.1
PROGRESS_PAUSE = 0.25
KEEP = 256
"""Tags and reports that are kept for a tracker that is away."""


@dataclass(slots=True)
class _Lease:
    epoch: int
    rank: int = 0
    offset: int = 0
    told: int = -1
    told_at: float = NOW


class Ledger:
    """State to be told; ``take`` gives the messages that are due, in an order that the tracker likes."""

    def __init__(self) -> None:
        self.announce_every = 1.0
        self.connected = False
        self.holdings: dict[str, Holding] = {}
        self.wants: dict[str, Want] = {}
        self._leases: dict[str, _Lease] = {}
        self._at_once: dict[str, None] = {}
        self._grown: dict[str, None] = {}
        self._grown_due = float("inf")
        self._grown_told = NOW
        self._growth = 0
        self._withdrawn: dict[str, None] = {}
        self._wants_due: dict[str, None] = {}
        self._unwanted: dict[str, bool] = {}
        self._released: dict[tuple[str, int], bool] = {}
        self._over: OrderedDict[tuple[str, int], None] = OrderedDict()
        """Leases that ended on this connection, the last ones: an epoch is never given twice."""
        self._asks: list[AskReference | ReferenceUnseen] = []
        self._seen: OrderedDict[tuple[str, str], tuple[ReferenceSeen, float]] = OrderedDict()
        self._reports: OrderedDict[tuple[str, str], IntentProgress] = OrderedDict()
        self._reports_due: dict[tuple[str, str], None] = {}

    # ── the truth changes ──────────────────────────────────────────────────────────────────────────

    def announce(self, holding: Holding, now: float) -> None:
        """Take what the node has of a blob; the first of it and its completion are told at once."""
        digest = holding.digest
        before = self.holdings.get(digest)
        if not holding.complete and holding.chunks == 0:
            if self.holdings.pop(digest, None) is not None:
                self._at_once.pop(digest, None)
                self._grown.pop(digest, None)
                self._withdrawn[digest] = None
            return
        self.holdings[digest] = holding
        self._withdrawn.pop(digest, None)
        if digest in self._at_once:
            return
        if before is None or before.complete != holding.complete:
            self._at_once[digest] = None
            self._grown.pop(digest, None)
            return
        if holding.chunks != before.chunks:
            self._grown[digest] = None
            self._growth += abs(holding.chunks - before.chunks)
            self._grown_due = min(self._grown_due, now + self.announce_every)
            if self._growth >= CHUNKS:
                self._grown_due = min(self._grown_due, self._grown_told + GROWTH_PAUSE)

    def want(self, want: Want) -> None:
        """Ask for plans, or ask again on other terms."""
        self.wants[want.digest] = want
        self._wants_due[want.digest] = None
        self._unwanted.pop(want.digest, None)

    def unwant(self, digest: str, *, keep: bool = False) -> None:
        """End it; the tracker takes an unreleased lease back by itself, unless ``keep``."""
        wanted = self.wants.pop(digest, None) is not None
        self._wants_due.pop(digest, None)
        leased = digest in self._leases
        if not keep and leased:
            self._end(digest, self._leases[digest].epoch)
        if wanted or (leased and not keep):
            self._unwanted[digest] = keep and leased

    def granted(self, digest: str, epoch: int, rank: int = 0) -> bool:
        """Note a lease that a tracker granted, the ``rank``-th of the digest; a repeated word is a no-op.

        False for one that ended on this connection: the tracker's word crossed ours, others have it soon.
        """
        if (digest, epoch) in self._over:
            return False
        lease = self._leases.get(digest)
        if lease is None or lease.epoch != epoch:
            self._leases[digest] = _Lease(epoch, rank)
        return True

    def lost(self, digest: str, epoch: int) -> None:
        """Note that the tracker gave a lease to another node."""
        lease = self._leases.get(digest)
        if lease is not None and lease.epoch == epoch:
            self._end(digest, epoch)

    def held(self, digest: str) -> int:
        """Give the epoch under which this node streams a digest, 0 for none."""
        lease = self._leases.get(digest)
        return lease.epoch if lease else 0

    def progress(self, digest: str, epoch: int, offset: int) -> None:
        """Note how far the stream is; a no-op for a lease that the tracker did not grant or took back."""
        lease = self._leases.get(digest)
        if lease is not None and lease.epoch == epoch:
            lease.offset = max(lease.offset, offset)

    def release(self, digest: str, epoch: int, *, done: bool) -> None:
        """Give a lease back; a no-op as ``progress`` is."""
        lease = self._leases.get(digest)
        if lease is not None and lease.epoch == epoch:
            self._end(digest, epoch)
            self._released[digest, epoch] = done

    def seen(self, seen: ReferenceSeen, now: float) -> None:
        """Tell of a tag that the origin confirmed ``seen.age`` seconds before ``now``."""
        key = (seen.repository, seen.reference)
        self._seen[key] = (seen, now)
        self._seen.move_to_end(key)
        if len(self._seen) > KEEP:
            self._seen.popitem(last=False)

    def unseen(self, unseen: ReferenceUnseen) -> None:
        """Tell that the origin did not confirm a tag; forgotten when the connection ends."""
        self._asks.append(unseen)

    def ask(self, ask: AskReference) -> None:
        """Ask for a tag; forgotten when the connection ends."""
        self._asks.append(ask)

    def report(self, report: IntentProgress) -> None:
        """Tell how an image of a job goes; only the latest word counts."""
        key = (report.job, report.image)
        self._reports[key] = report
        self._reports.move_to_end(key)
        self._reports_due[key] = None
        if len(self._reports) > KEEP:
            oldest, _ = self._reports.popitem(last=False)
            self._reports_due.pop(oldest, None)

    # ── the connection ─────────────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        """Begin afresh with a tracker that may know nothing: everything held is due."""
        self.connected = True
        self._withdrawn.clear()
        self._unwanted.clear()
        self._released.clear()
        self._over.clear()
        self._asks.clear()
        self._clear_growth()
        # Blobs under way first: they show a new tracker which swarms are older than itself.
        partial = [digest for digest, holding in self.holdings.items() if not holding.complete]
        self._at_once = dict.fromkeys([*partial, *self.holdings])
        self._wants_due = dict.fromkeys(self.wants)
        self._reports_due = dict.fromkeys(self._reports)
        for lease in self._leases.values():
            lease.told, lease.told_at = -1, NOW

    def disconnect(self) -> None:
        """Tell nothing until connected again."""
        self.connected = False

    def take(self, now: float) -> list[ToTracker]:
        """Give the messages that are due; they count as told."""
        if not self.connected:
            return []
        out: list[ToTracker] = []
        if self._withdrawn:
            out += [Withdraw(part) for part in _batches(self._withdrawn)]
            self._withdrawn.clear()
        at_once = [self.holdings[digest] for digest in self._at_once]
        self._at_once.clear()
        if self._grown_due <= now:
            at_once += [self.holdings[digest] for digest in self._grown]
            self._clear_growth()
            self._grown_told = now
        # Wants come before the bulk of a big store: clients wait for their plans.
        first = [one for one in at_once if not one.complete or one.digest in self.wants]
        late = [one for one in at_once if one.complete and one.digest not in self.wants]
        early, late = (first + late, []) if len(at_once) <= BATCH else (first, late)
        out += [Announce(part) for part in _batches(early)]
        out += [LeaseRelease(digest, epoch, done) for (digest, epoch), done in self._released.items()]
        self._released.clear()
        out += self._progress(now)
        out += [self.wants[digest] for digest in self._wants_due]
        self._wants_due.clear()
        out += [Unwant(digest, keep) for digest, keep in self._unwanted.items()]
        self._unwanted.clear()
        out += self._asks
        self._asks.clear()
        out += [self._reports[key] for key in self._reports_due]
        self._reports_due.clear()
        out += [_aged(seen, now - when) for seen, when in self._seen.values()]
        self._seen.clear()
        out += [Announce(part) for part in _batches(late)]
        return out

    def next_due(self) -> float | None:
        """When ``take`` has something to give: ``NOW``, a time, or None."""
        if not self.connected:
            return None
        pending = (
            self._withdrawn,
            self._at_once,
            self._released,
            self._wants_due,
            self._unwanted,
            self._asks,
            self._reports_due,
            self._seen,
        )
        if any(pending):
            return NOW
        due = [one.told_at + PROGRESS_PAUSE for one in self._leases.values() if one.offset > one.told]
        if self._grown:
            due.append(self._grown_due)
        return min(due, default=None)

    def _progress(self, now: float) -> list[ToTracker]:
        out: list[ToTracker] = []
        for digest, lease in self._leases.items():
            if lease.offset > lease.told and lease.told_at + PROGRESS_PAUSE <= now:
                lease.told, lease.told_at = lease.offset, now
                out.append(LeaseProgress(digest, lease.epoch, lease.offset, lease.rank))
        return out

    def _end(self, digest: str, epoch: int) -> None:
        del self._leases[digest]
        self._over[digest, epoch] = None
        if len(self._over) > KEEP:
            self._over.popitem(last=False)

    def _clear_growth(self) -> None:
        self._grown.clear()
        self._growth = 0
        self._grown_due = float("inf")


def _batches(items: Iterable[_T]) -> list[tuple[_T, ...]]:
    everything = tuple(items)
    return [everything[at : at + BATCH] for at in range(0, len(everything), BATCH)]


def _aged(seen: ReferenceSeen, more: float) -> ReferenceSeen:
    return ReferenceSeen(
        seen.repository, seen.reference, seen.digest, seen.media_type, seen.size, seen.age + max(0.0, more)
    )
