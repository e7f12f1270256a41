"""The routing table: ``kademlia``'s, with what it gets wrong set right, and without its clock and asyncio.

Over ``kademlia`` 2.2.3:

- a contact that is known in a full bucket's replacements too came back later under its old address;
- ``find_neighbors`` stopped at the first k that it met on its way, which need not be the nearest;
- an id at the upper end of a bucket was kept in one bucket and looked for in the next;
- a full bucket pinged through asyncio; here its least recently seen contact is given to the caller;
- time came from ``time.monotonic``; here it is passed in, and only what nodes prove counts as use;
- ids with a long common beginning could split buckets without end; and there is a limit for all.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from kademlia.node import Node  # type: ignore[import-untyped]  # ships no types
from kademlia.routing import KBucket, RoutingTable  # type: ignore[import-untyped]  # ships no types

from p2p.core.dht.contact import Contact, Endpoint, K

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPACITY: Final = 1024
_BITS: Final = 160
_TOP: Final = (1 << _BITS) - 1


class Member(Node):  # type: ignore[misc]  # its base has no types
    """A contact that has proven its id and its address.

    ``peer_port`` is where its peers reach it (TCP), ``seen`` when it last answered, ``failures`` how many
    requests in a row it did not.
    """

    def __init__(self, public: bytes, contact: Contact, peer_port: int, now: float) -> None:
        super().__init__(contact.id, contact.endpoint.ip, contact.endpoint.port)
        self.public = public
        self.peer_port = peer_port
        self.seen = now
        self.failures = 0
        self.checked = float("-inf")

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return Endpoint(self.ip, self.port)

    @property
    def contact(self) -> Contact:
        """What others are told of it."""
        return Contact(self.id, self.endpoint)


class Bucket(KBucket):  # type: ignore[misc]  # its base has no types
    """A bucket whose time is given, and in which a contact is in one place only."""

    def __init__(self, lower: int, upper: int, ksize: int, now: float) -> None:
        self._now = now
        self.low = lower
        self.prefix = ~(upper - lower)
        """The bits that all ids of the range have in common with ``low``: it is an aligned power of two."""
        super().__init__(lower, upper, ksize)

    def touch_last_updated(self) -> None:
        """Set the time of its making; later times are given to ``touch``."""
        self.last_updated = self._now

    def touch(self, now: float) -> None:
        """Somebody in it answered, or was looked for."""
        self.last_updated = now

    def split(self) -> tuple[Bucket, Bucket]:
        """Give two buckets for the halves of the range, with the same contacts and the same time."""
        middle = (self.range[0] + self.range[1]) // 2
        low = Bucket(self.range[0], middle, self.ksize, self.last_updated)
        high = Bucket(middle + 1, self.range[1], self.ksize, self.last_updated)
        for node in (*self.nodes.values(), *self.replacement_nodes.values()):
            (low if node.long_id <= middle else high).add_node(node)
        return low, high

    def depth(self) -> int:
        """Give how many leading bits the contacts have in common; the bucket is full when this is asked."""
        numbers: list[int] = [one.long_id for one in self.nodes.values()]
        return _BITS - (max(numbers) ^ min(numbers)).bit_length()

    def add_node(self, node: Member) -> bool:
        """Add or renew a contact; False where there is room only among the replacements."""
        added: bool = super().add_node(node)
        if added:
            self.replacement_nodes.pop(node.id, None)
        return added


class Table(RoutingTable):  # type: ignore[misc]  # its base has no types
    """The proven contacts of the node with id ``own``. Times are seconds of the shell's clock."""

    buckets: list[Bucket]

    def __init__(self, own: bytes, *, k: int = K, capacity: int = CAPACITY, now: float = 0.0) -> None:
        self._made = now
        self._capacity = capacity
        super().__init__(None, k, Node(own))

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def __iter__(self) -> Iterator[Member]:
        for bucket in self.buckets:
            yield from bucket.nodes.values()

    def flush(self) -> None:
        """Begin with one bucket for all ids."""
        self.buckets = [Bucket(0, _TOP, self.ksize, self._made)]

    def get_bucket_for(self, node: Node) -> int:
        """Give the index of the bucket whose range, both ends included, the id is in."""
        return bisect_left(self.buckets, node.long_id, key=_upper)

    def get(self, node_id: bytes) -> Member | None:
        """Give a contact by its id, replacements not included."""
        bucket = self.buckets[self.get_bucket_for(Node(node_id))]
        member: Member | None = bucket.nodes.get(node_id)
        return member

    def add_contact(self, node: Member) -> Member | None:
        """Add a proven contact or its new address; gives one to be pinged, which may have to make room."""
        if node.id == self.node.id:
            return None
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.is_new_node(node) and len(self) >= self._capacity:
                return None
            if bucket.add_node(node):
                return None
            # Section 4.2 of the paper: split where the own id is in range, or the depth asks for it.
            low, high = bucket.range
            wanted = bucket.has_in_range(self.node) or bucket.depth() % 5 != 0
            if low == high or not wanted:
                head: Member = bucket.head()
                return head
            bucket.replacement_nodes.pop(node.id, None)
            self.split_bucket(index)

    def remove_contact(self, node: Node) -> None:
        """Drop a contact; a replacement takes its place."""
        self.buckets[self.get_bucket_for(node)].remove_node(node)

    def touch(self, node_id: bytes, now: float) -> None:
        """An id was looked for, or answered."""
        self.buckets[self.get_bucket_for(Node(node_id))].touch(now)

    def stale_buckets(self, before: float) -> list[Bucket]:
        """Give the buckets with contacts, or with the own id, in which nothing was done since ``before``."""
        return [
            bucket
            for bucket in self.buckets
            if bucket.last_updated < before and (len(bucket) or bucket.has_in_range(self.node))
        ]

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Member]:
        """Give the ``k`` contacts nearest to an id, the nearest first, without the one with ``exclude``'s id.

        Those that failed lately come last. The id itself may be among them.
        """
        without = exclude.id if exclude is not None else b""
        number, count = node.long_id, k or self.ksize
        near: list[Member] = []
        failed: list[Member] = []
        # Ranges are aligned halves of halves: all that is in one is nearer than all that is in the next.
        for bucket in sorted(self.buckets, key=lambda one: (one.low ^ number) & one.prefix):
            known = [one for one in bucket.nodes.values() if one.id != without]
            known.sort(key=lambda one: one.long_id ^ number)
            near += [one for one in known if not one.failures]
            failed += [one for one in known if one.failures]
            if len(near) >= count:
                break
        return (near + failed)[:count]


def _upper(bucket: Bucket) -> int:
    return int(bucket.range[1])
