"""Who may get a blob from other zones: one node of a zone at a time, so that one copy of it crosses.

Where the connected nodes name more than one zone, plans name providers of the wanter's zone alone (``NEAR``).
A zone that has neither the whole blob nor the stream from the origin gets an *entry*, which is a lease by
another name: its holder's plans name providers of other zones too (``ENTRY``), and what it gets from them
spreads within the zone. An entry without progress goes to another node, the one that has most.

The budget is in copies of the blob, for each zone. What an entry's holder gained while it had it counts as
crossed, once it is announced; where no more is left nobody is let through until ``RENEWED`` seconds
after the count began, or until the zone had the whole blob. What a node takes with it when it dies must cross
again, so the budget is more than the one copy that is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm.chunks import Layout
from tracker.leases import Candidate, LeaseTable

if TYPE_CHECKING:
    from tracker.peer_table import Blob, Node, PeerTable, Wanting
    from tracker.places import Place

ANY, NEAR, ENTRY = "", "near", "entry"
"""Whom a plan is drawn from: of all nodes, of the wanter's zone, or of it and of the others."""

PATIENCE = 5.0
"""Seconds without progress before another node has the entry: two chunks of 4 MiB at 14 Mbit/s take that."""

RENEWED = 600.0

COPIES = 2.0
"""Copies of a blob that may come into a zone, as a default; 0: no budgets, plans are drawn from all nodes."""


class Entries:
    """The entries of all blobs and zones. ``copies``: the budget."""

    def __init__(self, table: PeerTable, leases: LeaseTable, copies: float = COPIES) -> None:
        self._table = table
        self._origin = leases
        self._leases = LeaseTable(patience=PATIENCE)
        self.copies = copies
        self.granted = 0

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def active(self) -> bool:
        """Whether there are budgets, and zones to have them."""
        return self.copies > 0 and len(self._table.named) > 1

    def holder(self, digest: str, zone: str) -> str:
        """Give the node that has the entry, empty where nobody has."""
        lease = self._leases.find(_key(digest, zone))
        return lease.holder if lease is not None else ""

    def reach(self, wanting: Wanting) -> str:
        """Whom a want's plan is to be drawn from."""
        node = wanting.node
        if not node.zone or not self.active:
            return ANY
        return ENTRY if self.holder(wanting.blob.digest, node.zone) == node.id else NEAR

    def look(self, blob: Blob, zone: str, now: float, settled: float) -> list[Wanting]:
        """Give the entry to whom it is due, or end it; gives the wants whose reach changed.

        ``settled``: until then whoever had it before this tracker's start may still be on the way back.
        """
        key, place = _key(blob.digest, zone), blob.places.find(zone)
        lease = self._leases.find(key)
        before = lease.holder if lease is not None else ""
        if lease is not None and (place is None or lease.holder not in place.waiting):
            self._leases.clear(key)
            lease = None
        if (
            place is None
            or not len(place.waiting)
            or not self.active
            or self._supplied(blob, zone, place, now)
        ):
            if lease is not None:
                self._leases.clear(key)
            if place is not None and len(place.complete):
                place.crossed = 0
        elif lease is None or lease.due <= now:
            if lease is None and now < settled and (len(place.partial) or len(place.complete)):
                self._leases.wake(key, settled)
            elif self._spent(blob, place, now):
                if lease is not None:
                    self._leases.clear(key)
                self._leases.wake(key, place.begun + RENEWED)
            else:
                self._grant(blob, key, place, now)
        after = self.holder(blob.digest, zone)
        names = (before, after) if before != after else ()
        return [blob.wants[name] for name in names if name in blob.wants]

    def announced(self, node: Node, blob: Blob, chunks: int, now: float) -> None:
        """The node has so many chunks of the blob by now."""
        key = _key(blob.digest, node.zone)
        lease, place = self._leases.find(key), blob.places.find(node.zone)
        if lease is None or place is None or lease.holder != node.id:
            return
        place.crossed += max(0, chunks - place.mark)
        place.mark = chunks
        self._leases.progress(key, chunks, now)
        if self._spent(blob, place, now):
            lease.due = now
            self._leases.wake(key, now)

    def leave(self, node: Node) -> list[tuple[str, str]]:
        """A node is gone; gives the digests and zones whose entry it had."""
        return [_parted(key) for key in self._leases.leave(node.id)]

    def overdue(self, now: float) -> list[tuple[str, str]]:
        """Give the digests and zones that are to be looked at."""
        return [_parted(key) for key in self._leases.overdue(now)]

    def next_deadline(self) -> float | None:
        """When ``overdue`` has something."""
        return self._leases.next_deadline()

    def _grant(self, blob: Blob, key: str, place: Place, now: float) -> None:
        wants = [blob.wants[name] for name in place.waiting if name in blob.wants]
        candidates = [
            Candidate(one.node.id, one.node.chunks(blob.digest))
            for one in wants
            if not len(place.complete) or not self._table.whole_near(one)
        ]
        lease = self._leases.grant(key, candidates, now) if candidates else None
        if lease is not None:
            self.granted += 1
            place.mark = self._table.nodes[lease.holder].chunks(blob.digest)
            if not place.crossed:
                place.begun = now

    def _supplied(self, blob: Blob, zone: str, place: Place, now: float) -> bool:
        """Whether all that is needed is in the zone, or comes to it from the origin."""
        if len(place.complete):
            wants = (blob.wants[name] for name in place.waiting)
            return all(self._table.whole_near(one) for one in wants)
        turn = f"{blob.digest} {zone}" if self._table.zones else blob.digest
        lease = self._origin.find(turn)
        if lease is None or lease.due <= now:
            return False
        holder = self._table.nodes.get(lease.holder)
        return holder is not None and holder.zone == zone

    def _spent(self, blob: Blob, place: Place, now: float) -> bool:
        if place.begun + RENEWED <= now:
            place.crossed, place.begun = 0, now
        return place.crossed >= self.copies * Layout(blob.size).count


def _key(digest: str, zone: str) -> str:
    return f"{digest} {zone}"


def _parted(key: str) -> tuple[str, str]:
    digest, _, zone = key.partition(" ")
    return digest, zone
