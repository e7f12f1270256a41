"""What peers tell each other of further ones: who gathers or has a digest, as hints that prove nothing.

Each of a digest's nodes learns of the others from those it is linked with, so that a swarm without a tracker
grows from one known peer. Everything is bounded: a hint costs whoever takes it a connection.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

Address = tuple[str, int]
"""Host and port."""

HINTS = 32
"""Addresses in one message, and that are taken from one peer for one digest."""

NODES = 64
"""Nodes remembered for one digest."""

DIGESTS = 4096

BURST, PAUSE, LATER = 16, 0.05, 1.0
"""So many messages to one peer go ``PAUSE`` seconds apart, further ones ``LATER``."""

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Where clouds answer their guests with credentials."""


def admissible(host: str, port: int, told_by: str) -> bool:
    """Whether an address that a peer at ``told_by`` speaks of may be dialled.

    Numeric alone: a name would be resolved on a stranger's word. Loopback only from a peer that is there.
    """
    address = _parsed(host)
    if address is None or not 0 < port < 65536:
        return False
    if address.is_loopback:
        teller = _parsed(told_by)
        return told_by == "localhost" or (teller is not None and teller.is_loopback)
    return not (
        address.is_unspecified
        or address.is_multicast
        or address.is_link_local
        or address.is_reserved
        or address in _METADATA
        or (address.version == 4 and address.packed[0] == 0)
    )


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return address
    # Ways to write an IPv4 address that would go past what is said of it.
    inner = address.ipv4_mapped or address.sixtofour
    return inner or (None if address.teredo or address.scope_id else address)


class Acquaintances:
    """Digest → node → its address, and for how many reasons it is known; the oldest go first."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[Address, int]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, digest: str, node: str, address: Address) -> bool:
        """Take a node that gathers or has a digest; whether it is new."""
        nodes = self._known.get(digest)
        if nodes is None:
            if len(self._known) >= DIGESTS:
                del self._known[next(iter(self._known))]
            nodes = self._known[digest] = {}
        before = nodes.get(node)
        nodes[node] = (address, before[1] + 1 if before else 1)
        if len(nodes) > NODES:
            del nodes[next(iter(nodes))]
        return before is None or before[0] != address

    def remove(self, digest: str, node: str) -> None:
        """One reason to know a node is gone; the last one takes it with it."""
        nodes = self._known.get(digest, {})
        if node not in nodes:
            return
        address, reasons = nodes[node]
        if reasons > 1:
            nodes[node] = (address, reasons - 1)
            return
        del nodes[node]
        if not nodes:
            del self._known[digest]

    def others(self, digest: str, asker: str, told: Container[Address]) -> tuple[Address, ...]:
        """Give addresses that ``asker`` was not told, up to ``HINTS``, the latest first; never its own."""
        found: list[Address] = []
        for node, (address, _) in reversed(self._known.get(digest, {}).items()):
            if node != asker and address not in told and address not in found:
                found.append(address)
                if len(found) == HINTS:
                    break
        return tuple(found)


class Pace:
    """When the next message to a peer may go."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Give the seconds to wait before the next message; it counts as sent."""
        self._tokens = min(float(BURST), self._tokens + max(0.0, now - self._at) / LATER)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return PAUSE
        self._tokens = 0.0
        return LATER
