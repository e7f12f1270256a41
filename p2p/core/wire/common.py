"""What both channels speak of: protocol version, providers, holdings."""

from __future__ import annotations

from msgspec import Struct

PROTOCOL_VERSION = 2


def apart(zone: str, other: str) -> bool:
    """Whether two nodes are known to be in different zones; one that names none is apart from nobody."""
    return bool(zone and other) and zone != other


class Provider(Struct, frozen=True, array_like=True, gc=False):
    """A node that claims a digest.

    ``node`` is its id (32 hex digits), ``host`` and ``port`` its peer address, ``complete`` whether it
    claims the whole blob. A claim proves nothing: bytes are verified, and unmet claims demote. ``zone``:
    what is cheap to reach among itself, as that node says; empty: not known.
    """

    node: str
    name: str
    host: str
    port: int
    complete: bool = False
    zone: str = ""


class Holding(Struct, frozen=True, array_like=True, gc=False):
    """What one node has of one blob: ``size`` in bytes, ``chunks`` verified, ``complete`` when all are."""

    digest: str
    size: int
    chunks: int
    complete: bool
