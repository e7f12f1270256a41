"""Who is here, who has what, who wants what: the tracker's soft state.

Every look-up is by key and every list that a plan draws from is indexed, so that no message costs a scan of
all nodes. Iteration order is that of arrival, never that of a bare set.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2p.core.swarm.chunks import MAX_BLOB, chunk_size
from p2p.core.wire.common import Holding, Provider
from tracker.places import Places, Ring

if TYPE_CHECKING:
    from p2p.core.wire.tracker import Plan

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

REMEMBER = 3600.0
"""Seconds that a node is remembered after its connection ended."""


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest that a blob may have (sha256 or sha512, lower-case hex)."""
    return _DIGEST.fullmatch(text) is not None


def believable(holding: Holding) -> bool:
    """Whether a holding is well formed: a digest, a size, and no more chunks than that size has."""
    size, chunks = holding.size, holding.chunks
    if not 0 <= size <= MAX_BLOB or not is_digest(holding.digest):
        return False
    return 0 <= chunks <= max(1, -(-size // chunk_size(size)))


def digest_of(turn: str) -> str:
    """Give the digest that a turn at the origin is about."""
    return turn.partition(" ")[0]


@dataclass(slots=True)
class Node:
    """One node. ``conn`` None: not connected; ``seen``: when it last connected or said something.

    ``children`` counts the wants that have this node in their plan. ``zone`` and ``rack`` are its own words;
    ``places``: their names among a blob's places.
    """

    id: str
    name: str
    host: str
    port: int
    conn: int | None
    seen: float
    holdings: dict[str, Holding] = field(default_factory=dict)
    wants: dict[str, Wanting] = field(default_factory=dict)
    children: int = 0
    complete: int = 0
    point: int = 0
    zone: str = ""
    rack: str = ""
    places: tuple[str, ...] = field(init=False)
    whole: Provider = field(init=False)
    part: Provider = field(init=False)

    def __post_init__(self) -> None:
        self.point = zlib.crc32(self.id.encode())
        self.whole = Provider(self.id, self.name, self.host, self.port, complete=True, zone=self.zone)
        self.part = Provider(self.id, self.name, self.host, self.port, complete=False, zone=self.zone)
        rack = f"{self.zone}/{self.rack}"
        self.places = ((self.zone, rack) if self.rack else (self.zone,)) if self.zone else ()

    def chunks(self, digest: str) -> int:
        """Give the verified chunks that it claims of ``digest``."""
        holding = self.holdings.get(digest)
        return holding.chunks if holding else 0


@dataclass(slots=True, eq=False)
class Wanting:
    """One node's want of one blob, and the plan it was last given.

    ``rank``: this tracker's place among those of the digest, as the node counts.
    ``pushed`` and ``due``: when its last plan went out and when the next one goes. ``plan``: that plan, and
    ``repeats``: how often it went out again; None where the next one must be drawn anew.
    """

    node: Node
    blob: Blob
    size: int = 0
    lease: bool = False
    unreachable: frozenset[str] = frozenset()
    rank: int = 0
    providers: tuple[str, ...] = ()
    pushed: float = float("-inf")
    due: float = float("inf")
    plan: Plan | None = None
    repeats: int = 0
    alive: bool = True
    reach: str = ""
    """Whom its last plan was drawn from, see ``tracker.zones``."""


@dataclass(slots=True, eq=False)
class Blob:
    """One digest: its holders, its wants in order of arrival, the sizes that holders claim.

    ``hungry``: wants whose plan has room for more providers; ``looked``: when that was seen to last.
    """

    digest: str
    point: int = 0
    complete: Ring = field(default_factory=Ring)
    partial: Ring = field(default_factory=Ring)
    waiting: Ring = field(default_factory=Ring)
    wants: dict[str, Wanting] = field(default_factory=dict)
    hungry: dict[str, Wanting] = field(default_factory=dict)
    looked: float = float("-inf")
    sizes: dict[int, int] = field(default_factory=dict)
    places: Places = field(default_factory=Places)

    def __post_init__(self) -> None:
        self.point = zlib.crc32(self.digest.encode())

    @property
    def size(self) -> int:
        """The size that most holders claim (the smaller one on a tie), 0 where unknown."""
        return min(self.sizes, key=lambda size: (-self.sizes[size], size), default=0)

    @property
    def idle(self) -> bool:
        """Whether nobody has it and nobody wants it."""
        return not (self.wants or len(self.complete) or len(self.partial))

    def whole_for(self, wanting: Wanting) -> bool:
        """Whether a complete provider other than the wanter exists that it has not found unreachable."""
        out_of_reach = wanting.unreachable
        if len(self.complete) > len(out_of_reach) + 1:
            return True
        return any(node != wanting.node.id and node not in out_of_reach for node in self.complete)


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds on what is remembered. What comes above them is dropped (holdings) or refused (the rest)."""

    nodes: int = 10_000
    holdings: int = 50_000
    wants: int = 4_096


class PeerTable:
    """Nodes by id, blobs by digest. ``zones``: each zone reads a blob from its origin by itself."""

    def __init__(self, caps: Caps | None = None, *, zones: bool = False) -> None:
        self.caps = caps or Caps()
        self.zones = zones
        self.named: Counter[str] = Counter()
        """Zones that connected nodes name, and how many do."""
        self.nodes: dict[str, Node] = {}
        self.blobs: dict[str, Blob] = {}
        self.dropped = 0
        """Holdings that were over a node's cap."""
        self._gone: dict[str, float] = {}
        """Disconnected nodes, longest gone first."""

    def turn(self, digest: str, node: Node) -> str:
        """Name the turn at the origin that a node takes part in: of all nodes, or of those of its zone."""
        return f"{digest} {node.zone}" if self.zones and node.zone else digest

    def turns(self, blob: Blob) -> list[str]:
        """Name the turns that a blob's wants take part in."""
        if not self.zones:
            return [blob.digest]
        return list(dict.fromkeys(self.turn(blob.digest, one.node) for one in blob.wants.values()))

    def whole_for(self, wanting: Wanting) -> bool:
        """Whether a want needs no origin: somebody else has it all, in the same zone where zones count."""
        if not self.zones or not wanting.node.zone:
            return wanting.blob.whole_for(wanting)
        return self.whole_near(wanting)

    def whole_near(self, wanting: Wanting) -> bool:
        """Whether somebody else in the zone has it all."""
        place, out_of_reach = wanting.blob.places.find(wanting.node.zone), wanting.unreachable
        if place is None or len(place.complete) > len(out_of_reach) + 1:
            return place is not None
        return any(node != wanting.node.id and node not in out_of_reach for node in place.complete)

    def connect(
        self,
        node_id: str,
        name: str,
        host: str,
        port: int,
        conn: int,
        now: float,
        zone: str = "",
        rack: str = "",
    ) -> Node | None:
        """Take in a node with nothing yet; None when the table is full of connected nodes.

        One that is known must have been disconnected first.
        """
        self._gone.pop(node_id, None)
        if node_id not in self.nodes and len(self.nodes) >= self.caps.nodes:
            longest = next(iter(self._gone), None)
            if longest is None:
                return None
            self._forget(longest)
        before = self.nodes.get(node_id)
        node = Node(node_id, name, host, port, conn, now, zone=zone, rack=rack)
        if zone:
            self.named[zone] += 1
        if before is not None:
            # Plans of others may still name it: they give these children back one by one.
            node.children = before.children
        self.nodes[node_id] = node
        return node

    def disconnect(self, node: Node, now: float) -> list[Blob]:
        """Drop what it has and wants, remember its row; gives the blobs that lost a holder."""
        node.conn = None
        node.seen = now
        self.named -= Counter([node.zone] if node.zone else [])
        self._gone[node.id] = now
        for digest in list(node.wants):
            self.unwant(node, digest)
        return [blob for digest in list(node.holdings) if (blob := self.withdraw(node, digest))]

    def expire(self, now: float) -> None:
        """Forget nodes that have been gone for ``REMEMBER`` seconds."""
        while (first := next(iter(self._gone), None)) and self._gone[first] + REMEMBER <= now:
            self._forget(first)

    def next_deadline(self) -> float | None:
        """When the next node is to be forgotten."""
        return next(iter(self._gone.values())) + REMEMBER if self._gone else None

    def announce(self, node: Node, holding: Holding) -> Blob | None:
        """Take a holding; gives its blob if the blob's providers changed (new, complete, or withdrawn).

        The holding must be ``believable``.
        """
        digest = holding.digest
        if not holding.complete and holding.chunks == 0:
            return self.withdraw(node, digest)
        before = node.holdings.get(digest)
        if before is None and len(node.holdings) >= self.caps.holdings:
            self.dropped += 1
            return None
        node.holdings[digest] = holding
        blob = self._blob(digest)
        if before is None or before.size != holding.size:
            if before is not None:
                self._unclaim(blob, before.size)
            blob.sizes[holding.size] = blob.sizes.get(holding.size, 0) + 1
        if before is not None and before.complete == holding.complete:
            return None
        node.complete += holding.complete - (before.complete if before else False)
        if node.places:
            blob.places.holds(node.places, node.id, complete=holding.complete)
        here, there = (blob.complete, blob.partial) if holding.complete else (blob.partial, blob.complete)
        there.discard(node.id)
        here.add(node.id)
        return blob

    def withdraw(self, node: Node, digest: str) -> Blob | None:
        """Take a holding back; gives its blob if it was there."""
        before = node.holdings.pop(digest, None)
        if before is None:
            return None
        node.complete -= before.complete
        blob = self.blobs[digest]
        self._unclaim(blob, before.size)
        if node.places:
            blob.places.lacks(node.places, node.id)
        (blob.complete if before.complete else blob.partial).discard(node.id)
        self._drop_idle(blob)
        return blob

    def want(
        self, node: Node, digest: str, size: int, *, lease: bool, unreachable: frozenset[str], rank: int = 0
    ) -> Wanting | None:
        """Take a want, or replace its terms; None when the node has too many."""
        wanting = node.wants.get(digest)
        if wanting is None:
            if len(node.wants) >= self.caps.wants:
                return None
            blob = self._blob(digest)
            wanting = Wanting(node, blob)
            node.wants[digest] = blob.wants[node.id] = blob.hungry[node.id] = wanting
            blob.waiting.add(node.id)
            blob.places.wants(node.places, node.id)
        wanting.plan = None
        wanting.size, wanting.lease, wanting.unreachable, wanting.rank = size, lease, unreachable, rank
        return wanting

    def unwant(self, node: Node, digest: str) -> Wanting | None:
        """End a want and free its providers of it."""
        wanting = node.wants.pop(digest, None)
        if wanting is None:
            return None
        self.assign(wanting, ())
        wanting.alive = False
        blob = wanting.blob
        del blob.wants[node.id]
        blob.waiting.discard(node.id)
        blob.places.unwants(node.places, node.id)
        blob.hungry.pop(node.id, None)
        self._drop_idle(blob)
        return wanting

    def assign(self, wanting: Wanting, providers: tuple[str, ...]) -> None:
        """Note a want's plan; each of its providers counts it among its children."""
        for name in wanting.providers:
            if (node := self.nodes.get(name)) is not None and node.children:
                node.children -= 1
        for name in providers:
            self.nodes[name].children += 1
        wanting.providers = providers

    def _blob(self, digest: str) -> Blob:
        blob = self.blobs.get(digest)
        if blob is None:
            blob = self.blobs[digest] = Blob(digest)
        return blob

    def _unclaim(self, blob: Blob, size: int) -> None:
        left = blob.sizes[size] - 1
        if left:
            blob.sizes[size] = left
        else:
            del blob.sizes[size]

    def _drop_idle(self, blob: Blob) -> None:
        if blob.idle:
            self.blobs.pop(blob.digest, None)

    def _forget(self, node_id: str) -> None:
        self._gone.pop(node_id, None)
        del self.nodes[node_id]
