"""What happens to a DHT node, and what it wants done: the events and actions of ``node.Dht``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.dht.contact import Contact, Endpoint
    from p2p.core.dht.messages import DhtMessage, Held, Record


@dataclass(frozen=True, slots=True)
class Received:
    """A message came; ``size`` is its bytes inside the seal, ``wall`` the Unix time."""

    endpoint: Endpoint
    message: DhtMessage
    size: int
    wall: float


@dataclass(frozen=True, slots=True)
class Seek:
    """Look for providers of a key, until there are ``enough``; ``lookup`` names it in what comes of it."""

    lookup: int
    key: bytes
    enough: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody waits for a lookup any more."""

    lookup: int


@dataclass(frozen=True, slots=True)
class Provide:
    """Leave a record with the nodes nearest to its key; ``wall`` is the Unix time."""

    lookup: int
    record: Record
    wall: float


@dataclass(frozen=True, slots=True)
class Meet:
    """Somebody may be there: a bootstrap node, a contact of an earlier run, a peer."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Received | Seek | Abandon | Provide | Meet | Tick


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send a message."""

    endpoint: Endpoint
    message: DhtMessage


@dataclass(frozen=True, slots=True)
class Discovered:
    """A lookup found these, beside what it told before."""

    lookup: int
    records: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """A lookup is over: ``count`` records found, or for ``Provide`` other nodes that took it.

    ``seconds`` from its start, ``queries`` nodes asked.
    """

    lookup: int
    count: int
    seconds: float
    queries: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A node proved its id and its address; as a peer it is ``node``, on ``peer_port`` there, as it says."""

    contact: Contact
    node: bytes
    peer_port: int


Action = Transmit | Discovered | Ended | Admitted
