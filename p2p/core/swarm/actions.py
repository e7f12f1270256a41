"""What a swarm asks of its shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.wire.common import Provider

ORIGIN = "origin"
"""Stands where a peer's node id would, for a range asked of the origin."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Open the partial blob; answer with ``Prepared`` or ``StoreFailed``."""

    size: int


@dataclass(frozen=True, slots=True)
class Seek:
    """Ask discovery; it answers with ``Planned``, again and again."""

    lease: bool
    unreachable: frozenset[str]


@dataclass(frozen=True, slots=True)
class Link:
    """Subscribe to this digest at a provider; ``PeerState``, ``PeerAbsent`` or ``PeerGone`` follows."""

    provider: Provider


@dataclass(frozen=True, slots=True)
class Unlink:
    """End the subscription; nothing more comes from this peer."""

    provider: Provider
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """Ask ``provider`` (None: the origin) for ``count`` chunks from ``first``."""

    request: int
    provider: Provider | None
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop a request; no event follows."""

    request: int


@dataclass(frozen=True, slots=True)
class OpenOrigin:
    """Stream from the origin in order, from chunk ``first``, extending the list; one at a time."""

    first: int
    epoch: int


@dataclass(frozen=True, slots=True)
class KeepLease:
    """Tell the tracker that the lease of ``epoch`` is of use: ``offset`` bytes have come from the origin."""

    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class CloseOrigin:
    """Stop the stream, if one is open, and give the lease of ``epoch`` back."""

    epoch: int
    done: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """Hand the store a list that extends its own."""

    midstates: Midstates


@dataclass(frozen=True, slots=True)
class Relink:
    """Change the list; answer with ``Relinked``. No request is under way meanwhile."""

    midstates: Midstates


@dataclass(frozen=True, slots=True)
class Accuse:
    """A peer is guilty: a strike. ``chunk`` -1 where the offence is its list."""

    provider: Provider
    offence: str
    chunk: int


@dataclass(frozen=True, slots=True)
class Advance:
    """More chunks hold: wake the readers, tell the subscribers and discovery."""

    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Herald:
    """Tell all subscribers that ``node`` streams the blob from the origin, or does so no longer (``over``).

    ``quiet``: seconds since it last said so itself.
    """

    node: str
    quiet: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """Every link holds: release the last chunk, commit, announce."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The swarm can't go on; every reader gets the error. Partial bytes are kept unless ``discard``."""

    error: Exception
    discard: bool = False


@dataclass(frozen=True, slots=True)
class Dissolve:
    """Nobody reads any more and the grace period is over; partial bytes are kept."""


Action = (
    Prepare
    | Seek
    | Link
    | Unlink
    | Request
    | Cancel
    | OpenOrigin
    | KeepLease
    | CloseOrigin
    | Adopt
    | Relink
    | Accuse
    | Advance
    | Herald
    | Finish
    | Fail
    | Dissolve
)
