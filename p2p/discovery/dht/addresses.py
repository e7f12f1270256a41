"""Addresses between the core's bytes and what sockets and people use; who may be dialled on others' word."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from p2p.core.dht.contact import IPV4_BYTES, Endpoint
from p2p.core.wire.common import Provider
from p2p.discovery.static import PREFIX

if TYPE_CHECKING:
    from p2p.core.dht.messages import Held

_MAPPED: Final = bytes(10) + b"\xff\xff"
_HOST: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:")


def to_host(ip: bytes) -> str:
    """Write an address as text."""
    return socket.inet_ntop(socket.AF_INET if len(ip) == IPV4_BYTES else socket.AF_INET6, ip)


def to_endpoint(host: str, port: int) -> Endpoint:
    """Read a numeric address; IPv4 in IPv6's clothes (RFC 4291, 2.5.5.2) is IPv4. ValueError for a name."""
    try:
        if ":" not in host:
            return Endpoint(socket.inet_pton(socket.AF_INET, host), port)
        ip = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError as error:
        raise ValueError(f"{host!r} is no address") from error
    return Endpoint(ip[12:] if ip.startswith(_MAPPED) else ip, port)


def provider_of(held: Held, *, loopback: bool) -> Provider | None:
    """Give the provider that a record is of, under its address's placeholder; None for one never dialled.

    Its node id is not known before a link greets it: a record could name anybody's. ``loopback``: this
    node's own peers are on loopback, else nobody's there are ours.
    """
    host = held.record.host or (to_host(held.seen) if held.seen else "")
    if not host or not set(host) <= _HOST:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        if host == "localhost" and not loopback:
            return None
    else:
        if address.is_unspecified or address.is_multicast or address.is_link_local:
            return None
        if address.is_loopback and not loopback:
            return None
    port = held.record.port
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Provider(f"{PREFIX}{host}:{port}", name, host, port, complete=True)
