"""Which addresses an upstream's connections may go to (faults.md: SSRF, DNS rebinding).

The list of upstreams is closed, but an upstream chooses where it redirects to and what its names resolve
to. So every address is judged after resolution and before the connection, and the connection is made to
that very address.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)
_METADATA: Final[frozenset[Address]] = frozenset(
    {
        ipaddress.IPv4Address("168.63.129.16"),  # Azure's wire server, a public address
        ipaddress.IPv4Address("100.100.100.200"),  # Alibaba Cloud
        ipaddress.IPv4Address("192.0.0.192"),  # Oracle Cloud
        ipaddress.IPv6Address("fd00:ec2::254"),  # EC2
        ipaddress.IPv6Address("fd20:ce::254"),  # Google Cloud
    }
)


class Scope(Enum):
    """How far an address reaches."""

    PUBLIC = "public"
    PRIVATE = "private"
    """Loopback, RFC 1918, unique local, shared (carrier) space: fine where the operator says so."""
    FORBIDDEN = "forbidden"
    """Link-local (cloud metadata lives there), multicast, unspecified, reserved: never an upstream."""


def scope_of(address: Address) -> Scope:
    """Classify an address; one that embeds an IPv4 address (mapped, 6to4, NAT64…) by the worse of both."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            inner = scope_of(embedded)
            # A v4-mapped address is the v4 address; of tunnels the embedded address only makes it worse.
            if address.ipv4_mapped is not None or inner is not Scope.PUBLIC:
                return inner
    return _plain_scope(address)


def _plain_scope(address: Address) -> Scope:
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return Scope.FORBIDDEN
    if isinstance(address, ipaddress.IPv4Address) and address.packed[0] == 0:
        return Scope.FORBIDDEN  # "this network": Linux connects 0.x.y.z oddly or to itself
    if address.is_loopback:
        return Scope.PRIVATE  # before is_reserved, which covers ::1 as well
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _NAT64):
        return Scope.PUBLIC  # its embedded address was judged before
    if address.is_reserved:
        return Scope.FORBIDDEN
    return Scope.PUBLIC if address.is_global else Scope.PRIVATE


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, brackets and zone dropped; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def names_private(host: str) -> bool:
    """Whether a host is by its own spelling not a public one: a literal, or ``localhost`` (RFC 6761)."""
    address = literal(host)
    if address is not None:
        return scope_of(address) is not Scope.PUBLIC
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What one upstream may connect to.

    ``host`` is the host of the upstream's url, lower-case. ``private`` is the operator's leave for private
    addresses anywhere behind this upstream; a url that itself names a private address implies it for that
    host and for nothing that it redirects to.
    """

    host: str
    private: bool = False

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection for ``host`` may go to ``address``, one that ``host`` resolved to."""
        scope = scope_of(address)
        if scope is Scope.PUBLIC:
            return True
        own = host.lower() == self.host
        if scope is Scope.PRIVATE:
            return self.private or (own and names_private(host))
        return own and literal(host) == address
