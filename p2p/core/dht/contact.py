"""Who takes part and where: node ids of 160 bits, and addresses as the bytes that go over the wire.

An id is the beginning of the SHA-256 of the node's public key, so whoever signs with that key proves it.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

ID_BYTES: Final = 20
K: Final = 8
"""Nodes in a bucket, and nodes that keep a record."""
IPV4_BYTES: Final = 4
IPV6_BYTES: Final = 16


class Endpoint(NamedTuple):
    """A UDP address: ``ip`` is 4 bytes (IPv4) or 16 (IPv6), in network order."""

    ip: bytes
    port: int


class Contact(NamedTuple):
    """A node and where it is said to be; nothing about it need be true."""

    id: bytes
    endpoint: Endpoint


def id_of(public: bytes) -> bytes:
    """Give the id of the node with this public key (32 bytes)."""
    return hashlib.sha256(public).digest()[:ID_BYTES]


def distance(one: bytes, other: bytes) -> int:
    """Give the XOR distance of two ids (Maymounkov and Mazières 2002, section 2)."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


def is_usable(endpoint: Endpoint) -> bool:
    """Whether a datagram may be sent there: a port, and no multicast, broadcast or empty address."""
    ip, port = endpoint
    if not 0 < port <= 65535:
        return False
    if len(ip) == IPV4_BYTES:
        return 0 < ip[0] < 224  # 0.0.0.0/8, multicast, reserved and broadcast are out
    return len(ip) == IPV6_BYTES and ip[0] != 0xFF and any(ip)
