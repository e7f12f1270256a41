"""What can happen to a swarm. The shell turns the world into these; times are seconds of its clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.wire.common import Provider


class LeaseState(Enum):
    """What a plan says of the origin: nobody asked, ours to stream, another's, or not needed."""

    UNASKED = "unasked"
    GRANTED = "granted"
    HELD = "held"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Planned:
    """A way of discovery answered. ``size`` 0 where unknown.

    ``exclusive``: the lease is kept by a tracker, so that nobody else streams; a claim without a tracker
    is not, and waits while peers make progress. ``route`` names the way ("tracker", "static").
    """

    providers: tuple[Provider, ...]
    lease: LeaseState = LeaseState.UNASKED
    epoch: int = 0
    exclusive: bool = True
    size: int = 0
    route: str = "tracker"


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease of ``epoch`` went to another node."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The partial blob is open: ``have`` (bitfield bytes) and ``midstates`` survive from earlier."""

    have: bytes
    midstates: Midstates


@dataclass(frozen=True, slots=True)
class PeerState:
    """A linked peer says what it holds."""

    peer: str
    size: int
    complete: bool
    have: bytes = b""


@dataclass(frozen=True, slots=True)
class PeerHave:
    """A linked peer verified more chunks."""

    peer: str
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PeerMidstates:
    """A linked peer's list from ``start`` on; an earlier tail is replaced. ``list_id`` commits to it all."""

    peer: str
    start: int
    states: bytes
    list_id: bytes


@dataclass(frozen=True, slots=True)
class PeerAbsent:
    """A linked peer holds nothing of this blob now; it will say when that changes."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerGone:
    """The link to a peer ended or never came up; ``reason`` for the log."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerKnown:
    """``peer`` speaks of others that may have this blob, by (host, port); empty: this node's own links do."""

    peer: str
    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PeerStreams:
    """``peer`` says that ``node`` streams the blob from the origin without a lease, or no longer (``over``).

    ``quiet``: seconds since that node said so itself. Hearsay.
    """

    peer: str
    node: str
    quiet: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class ReaderJoined:
    """A client reads bytes ``[start, stop)``; ``background``: no order is needed (prefetch)."""

    reader: int
    start: int
    stop: int
    background: bool = False


@dataclass(frozen=True, slots=True)
class ReaderMoved:
    """A client took the bytes before ``position``."""

    reader: int
    position: int


@dataclass(frozen=True, slots=True)
class ReaderLeft:
    """A client is done, or gone."""

    reader: int


@dataclass(frozen=True, slots=True)
class ChunksTaken:
    """A request's chunks arrived and were checked: ``held[i]`` for chunk ``first + i``.

    They may come in several such events, in order; ``last`` ends the request. ``seconds`` since it was
    sent.
    """

    request: int
    first: int
    held: tuple[bool, ...]
    seconds: float
    last: bool


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request ended without all of its chunks; ``stalled``: no byte for too long."""

    request: int
    reason: str
    stalled: bool = False
    unmet: bool = False
    """The peer said that it does not have what it claimed."""
    busy: bool = False
    """The peer said that it has no upload slot free."""


@dataclass(frozen=True, slots=True)
class RequestFlows:
    """The bytes of a slow answer keep coming: ``received`` so far. Told about twice a second."""

    request: int
    received: int


@dataclass(frozen=True, slots=True)
class RequestHeld:
    """The node's own limits keep a request waiting (``held``), or no longer: the peer is not late by it."""

    request: int
    held: bool


@dataclass(frozen=True, slots=True)
class OriginOpened:
    """The origin answered; ``size`` in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class OriginAppended:
    """Bytes from the origin were hashed and written; ``midstates`` is the list they extended."""

    first: int
    count: int
    midstates: Midstates


@dataclass(frozen=True, slots=True)
class OriginMismatch:
    """The origin's stream reached the end and the digest does not match."""


@dataclass(frozen=True, slots=True)
class OriginFailed:
    """The origin's stream or range request ended in an error.

    ``final``: trying again is of no use (not found, denied). ``error`` is given to the readers.
    """

    error: Exception
    final: bool
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Relinked:
    """The bytes on disk were checked under another list; ``have`` is what holds."""

    have: bytes


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The disk failed; the swarm ends."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline passed."""


Event = (
    Planned
    | LeaseLost
    | Prepared
    | PeerState
    | PeerHave
    | PeerMidstates
    | PeerAbsent
    | PeerGone
    | PeerKnown
    | PeerStreams
    | ReaderJoined
    | ReaderMoved
    | ReaderLeft
    | ChunksTaken
    | RequestFailed
    | RequestFlows
    | RequestHeld
    | OriginOpened
    | OriginAppended
    | OriginMismatch
    | OriginFailed
    | Relinked
    | StoreFailed
    | Tick
)
