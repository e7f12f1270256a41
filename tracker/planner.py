"""Makes the plans that are due, and lets stand what is as good as new: between the policy and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.wire import tracker as wire
from tracker.events import Send
from tracker.plan import EXPIRES_IN, PAUSE, REFRESH, REPEATS, Pushes, choose, still_good
from tracker.zones import NEAR

if TYPE_CHECKING:
    from tracker.leases import LeaseTable
    from tracker.peer_table import Blob, PeerTable, Wanting
    from tracker.zones import Entries

NOW = float("-inf")
"""Before all that is due."""

LATER = float("inf")

AHEAD = 1.0
"""Seconds before its time in which a plan is renewed together with another one of its node."""

FEW = 8
TOP_UP = 1.0
"""A plan of at least ``FEW`` providers gets more of them this many seconds after it, others at once."""


@dataclass(slots=True)
class Counters:
    """Since the start: what went on, for metrics."""

    messages: int = 0
    plans: int = 0
    renewals: int = 0
    leases_granted: int = 0
    leases_stolen: int = 0
    leases_failed: int = 0
    leases_adopted: int = 0
    refused: int = 0
    jobs: int = 0


class Planner:
    """When each want's plan is made, and what it says. Wants must be alive and their nodes connected."""

    def __init__(self, table: PeerTable, leases: LeaseTable, entries: Entries, counters: Counters) -> None:
        self._table = table
        self._leases = leases
        self._entries = entries
        self._counters = counters
        self._pushes = Pushes()
        self._ripe: dict[str, tuple[float, Blob]] = {}
        """Blobs with other providers than before, and when their plans are looked at: not for each change."""
        self._ripe_at = LATER

    def asked(self, wanting: Wanting, now: float) -> None:
        """A node asks: its first plan goes before all others that are due."""
        self._pushes.schedule(wanting, now if wanting.pushed > NOW else NOW)

    def schedule(self, wanting: Wanting, now: float) -> None:
        """Something changed that the node must hear of."""
        self._pushes.schedule(wanting, now)

    def changed(self, blob: Blob, now: float) -> None:
        """Providers came or went: plans with room for more are made anew, full ones in their turn."""
        if blob.hungry and blob.digest not in self._ripe:
            at = max(now, blob.looked + PAUSE)
            self._ripe[blob.digest] = (at, blob)
            self._ripe_at = min(self._ripe_at, at)

    def due(self, now: float, limit: int) -> list[Send]:
        """Make up to ``limit`` plans that are due."""
        if self._ripe_at <= now:
            for at, blob in list(self._ripe.values()):
                if at <= now:
                    del self._ripe[blob.digest]
                    self._top_up(blob, now)
            self._ripe_at = min((at for at, _ in self._ripe.values()), default=LATER)
        out: list[Send] = []
        while len(out) < limit and (taken := self._pushes.take(now, 1)):
            out.append(self.push(taken[0], now))
        return out

    def next_deadline(self) -> float | None:
        """When the next plan is due."""
        at = min(self._ripe_at, LATER if (push := self._pushes.next_deadline()) is None else push)
        return None if at == LATER else at

    def push(self, wanting: Wanting, now: float) -> Send:
        """Make a want's plan, or let the last one stand; the next one is due before this one expires."""
        node, blob = wanting.node, wanting.blob
        assert node.conn is not None
        state, epoch, name = self._word(wanting)
        if self._stands(wanting, state, epoch):
            return Send(node.conn, wire.PlansStand(self._renew(wanting, now)))
        wanting.pushed, wanting.due = now, float("inf")
        self._pushes.schedule(wanting, now + REFRESH)
        self._counters.plans += 1
        lease = self._leases.find(self._table.turn(blob.digest, node))
        holder = self._table.nodes.get(lease.holder) if lease is not None and state != "granted" else None
        if holder is not None and (holder.conn is None or holder is node):
            holder = None
        wanting.reach = self._entries.reach(wanting)
        providers = choose(self._table, wanting, holder, wanting.reach)
        size = blob.size or wanting.size
        wanting.plan = wire.Plan(blob.digest, size, providers, state, epoch, name, EXPIRES_IN)
        wanting.repeats = 0
        return Send(node.conn, wanting.plan)

    def _top_up(self, blob: Blob, now: float) -> None:
        blob.looked = now
        for wanting in blob.hungry.values():
            if wanting.due > now:
                few = len(wanting.providers) < FEW
                self._pushes.schedule(wanting, now if few else max(now, wanting.pushed + TOP_UP))

    def _word(self, wanting: Wanting) -> tuple[str, int, str]:
        """What a want's plan says of the lease: its state, the epoch, the holder."""
        lease = self._leases.find(self._table.turn(wanting.blob.digest, wanting.node))
        if lease is not None and lease.holder == wanting.node.id and not lease.done:
            return "granted", lease.epoch, wanting.node.id
        if lease is not None and not lease.done:
            # Also where somebody has it all: it was granted to one who got nothing from there.
            return "held", lease.epoch, lease.holder
        near = self._entries.reach(wanting) == NEAR
        if self._table.whole_near(wanting) if near else self._table.whole_for(wanting):
            return "none", 0, ""
        # Also while nobody holds it but soon will: after a failure, or just after the start.
        return "held", lease.epoch if lease else 0, lease.holder if lease else ""

    def _stands(self, wanting: Wanting, state: str, epoch: int) -> bool:
        """Whether a want's last plan is as good as a new one: in a big swarm most are."""
        last = wanting.plan
        if last is None or wanting.repeats >= REPEATS or wanting.reach != self._entries.reach(wanting):
            return False
        # That somebody has it all by now is no news to a node with all the providers that it can use; when a
        # crowd hears it at once, it makes all plans of all its wants due anew.
        whole = last.lease == "held" and state == "none"
        return (whole or (last.lease, last.epoch) == (state, epoch)) and still_good(wanting)

    def _renew(self, wanting: Wanting, now: float) -> tuple[str, ...]:
        """Let a plan stand, with all others of its node that are due soon: digests for one message."""
        names: list[str] = []
        for one in wanting.node.wants.values():
            if one is not wanting and (one.due > now + AHEAD or not self._stands(one, *self._word(one)[:2])):
                continue
            one.repeats += 1
            one.pushed, one.due = now, float("inf")
            self._pushes.schedule(one, now + REFRESH)
            names.append(one.blob.digest)
        self._counters.renewals += len(names)
        return tuple(names)
