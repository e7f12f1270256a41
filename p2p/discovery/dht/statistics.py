"""What the DHT tells of itself: for ``remora status`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

BOUNDS: Final = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
"""Upper ends, in seconds, of the classes that lookups are counted in; what is longer counts beyond them."""


class DhtStatistics(Struct, frozen=True, kw_only=True):
    """The figures, counted since the start but for contacts, records, provided, and what is under way."""

    contacts: int
    """Nodes in the routing table: each proved its id and its address."""
    records: int
    """Provider records kept for others."""
    provided: int
    """Complete blobs of this node that are provided."""
    lookups_running: int
    lookups_waiting: int
    found: int
    """Lookups for providers that found some."""
    missed: int
    lookup_seconds: float
    """Of all of them together."""
    lookup_classes: tuple[int, ...]
    """How many took up to each of ``BOUNDS``, and longer."""
    stored: int
    """Records of this node that enough other nodes took."""
    unstored: int
    """Those that too few took: they are put again soon."""
    received: int
    sent: int
    unsent: int
    """Datagrams that the system would not take."""
    dropped: Mapping[str, int]
    """Datagrams that got neither attention nor answer, by reason."""
    challenged: int
    """Requests from addresses that were not proven yet."""
    refused: int
    """Records of others that were not taken."""
    unanswered: int
    """Requests that were given up."""
    evicted: int
    """Contacts dropped because they did not answer."""
