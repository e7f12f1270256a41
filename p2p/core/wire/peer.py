"""Messages between two peers, over WebSocket, both ways on one connection.

After ``PeerHello`` from both sides each may ``Subscribe`` to digests of the other. The answer is one
``State`` or ``Absent``; then, until ``Unsubscribe``, pushes: ``Have`` as chunks are verified,
``Midstates`` as the list grows, a ``State`` again when the blob becomes complete, stops being held, or
lost chunks because its list fell. A subscription to an absent digest stays: a ``State`` follows when the
node begins to hold it. ``Known`` tells a subscriber of other nodes of the digest, ``Streams`` of one that
reads the origin.
"""

from __future__ import annotations

from msgspec import Struct


class PeerHello(Struct, frozen=True, array_like=True, tag="hello"):
    """First on every connection. ``port`` is the sender's own peer port, for known-peer lists.

    ``zone``: the sender's, empty: not said. ``together``: it takes arrays of messages; where both do, all
    that follows the hellos comes in such.
    """

    version: int
    node: str
    name: str
    port: int
    zone: str = ""
    together: bool = False


class Subscribe(Struct, frozen=True, array_like=True, tag="sub"):
    """Ask for the state of ``digest`` and its changes.

    ``list_length`` and ``list_id`` (SHA-256 of that many states) say which midstates the sender has
    already; where they agree the answer starts behind them, else at the beginning.
    """

    digest: str
    list_length: int = 0
    list_id: bytes = b""


class Unsubscribe(Struct, frozen=True, array_like=True, tag="unsub"):
    """End the pushes for ``digest``."""

    digest: str


class State(Struct, frozen=True, array_like=True, tag="state"):
    """What the sender holds: ``have`` is a bitfield (empty when ``complete``), ``size`` in bytes."""

    digest: str
    size: int
    complete: bool
    have: bytes = b""


class Absent(Struct, frozen=True, array_like=True, tag="absent"):
    """The sender holds nothing of ``digest`` (or no longer)."""

    digest: str


class Have(Struct, frozen=True, array_like=True, tag="have"):
    """Chunks verified since the last ``State`` or ``Have``."""

    digest: str
    chunks: tuple[int, ...]


class Midstates(Struct, frozen=True, array_like=True, tag="mid"):
    """States ``s[start+1] …`` of the sender's list; ``list_id`` commits to the list with these added.

    ``start`` counts states already published. A start below what was sent before replaces the tail: the
    sender's earlier list fell.
    """

    digest: str
    start: int
    states: bytes
    list_id: bytes


class PeerAddress(Struct, frozen=True, array_like=True, gc=False):
    """Where a node listens for peers, as somebody else says."""

    host: str
    port: int


class Known(Struct, frozen=True, array_like=True, tag="known"):
    """To a subscriber of ``digest``: others that gather or have it, at most 32. A mere hint."""

    digest: str
    addresses: tuple[PeerAddress, ...]


class Streams(Struct, frozen=True, array_like=True, tag="streams"):
    """To a subscriber: ``node`` streams ``digest`` from the origin, without a lease, or no longer (``over``).

    ``quiet``: seconds since that node said so itself. Passed on by whoever hears it.
    """

    digest: str
    node: str
    quiet: float = 0.0
    over: bool = False


class FindReference(Struct, frozen=True, array_like=True, tag="find"):
    """Ask what ``reference`` (a tag) of ``repository`` ("registry/path") pointed to when last seen."""

    request: int
    repository: str
    reference: str


class FoundReference(Struct, frozen=True, array_like=True, tag="found"):
    """The answer; ``digest`` empty where unknown. ``age`` is seconds since the origin confirmed it."""

    request: int
    digest: str = ""
    media_type: str = ""
    size: int = 0
    age: float = 0.0


PeerMessage = (
    PeerHello
    | Subscribe
    | Unsubscribe
    | State
    | Absent
    | Have
    | Midstates
    | Known
    | Streams
    | FindReference
    | FoundReference
)
