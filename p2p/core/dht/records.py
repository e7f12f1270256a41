"""Provider records: signed, short-lived, united where they meet, and bounded in every direction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from p2p.core.dht.messages import Held, Record

LIFE: Final = 1800.0
"""Seconds that a record holds at most."""
SKEW: Final = 30.0
"""Seconds that a provider's clock may be ahead."""
PER_KEY: Final = 64
MAX_RECORD: Final = 1000
"""Bytes of one record, written: so that a message with it always fits into a datagram."""
CAPACITY: Final = 32768

_DOMAIN: Final = b"remora dht provider\0"

Sign = Callable[[bytes], bytes]
"""Gives the node's own Ed25519 signature, 64 bytes."""
Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (public key, signature, data) hold together."""


def signed_bytes(record: Record) -> bytes:
    """Give what a record's signature is over: all its other fields."""
    fields = (record.key, record.public, record.host, record.port, record.expires)
    return _DOMAIN + msgspec.msgpack.encode(fields)


def make(key: bytes, *, public: bytes, sign: Sign, host: str, port: int, expires: float) -> Record:
    """Make a provider's record for the blob under ``key``; with ``port`` 0 what takes the last one back."""
    bare = Record(key, public, host, port, int(expires), bytes(64))
    return msgspec.structs.replace(bare, signature=sign(signed_bytes(bare)))


def is_live(record: Record, wall: float) -> bool:
    """Whether a record holds now, and not for longer than any may."""
    return wall < record.expires <= wall + LIFE + SKEW


def is_good(record: Record, wall: float, verify: Verify) -> bool:
    """Whether a record is short enough, holds now, and was signed by the key that it names."""
    return (
        is_live(record, wall)
        and len(msgspec.msgpack.encode(record)) <= MAX_RECORD
        and verify(record.public, record.signature, signed_bytes(record))
    )


@dataclass(slots=True)
class _Kept:
    held: Held
    until: float


class Records:
    """The records that this node keeps for others, by key and then by provider.

    One for each provider and key, the later replaces the earlier; at most ``per_key`` for a key, the ones
    that hold longest; at most ``capacity`` in all, where the provider with the most gives way first. One that
    was taken back stays, unseen, in the place of the one before: that may come once more, late. Times are
    seconds of the shell's clock.
    """

    def __init__(self, *, capacity: int = CAPACITY, per_key: int = PER_KEY) -> None:
        self._capacity = capacity
        self._per_key = per_key
        self._keys: dict[bytes, OrderedDict[bytes, _Kept]] = {}
        self._shares: dict[bytes, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, held: Held, until: float) -> bool:
        """Take a record that was found good; False where there is no room for it."""
        record = held.record
        kept = self._keys.get(record.key, OrderedDict())
        before = kept.pop(record.public, None)
        if before is None and not record.port:
            return True  # nothing to take back
        if before is not None:
            if before.held.record.expires > record.expires:
                kept[record.public] = before  # an older one came late: it changes nothing
                return True
            self._drop_share(record.public)
        elif len(kept) >= self._per_key:
            first = min(kept.values(), key=lambda one: (one.held.record.port > 0, one.until))
            if first.until >= until and first.held.record.port:
                return False
            self._remove(record.key, first.held.record.public)
        elif self._count >= self._capacity:
            self._make_room()
        self._keys.setdefault(record.key, kept)[record.public] = _Kept(held, until)
        self._shares[record.public] = self._shares.get(record.public, 0) + 1
        self._count += 1
        return True

    def get(self, key: bytes, now: float) -> list[Held]:
        """Give the records of a key that hold now."""
        kept = self._keys.get(key)
        if not kept:
            return []
        return [one.held for one in kept.values() if one.until > now and one.held.record.port]

    def expire(self, now: float) -> None:
        """Drop what holds no more."""
        gone = [
            (key, public)
            for key, kept in self._keys.items()
            for public, one in kept.items()
            if one.until <= now
        ]
        for key, public in gone:
            self._remove(key, public)

    def _remove(self, key: bytes, public: bytes) -> None:
        kept = self._keys[key]
        del kept[public]
        if not kept:
            del self._keys[key]
        self._drop_share(public)

    def _drop_share(self, public: bytes) -> None:
        self._count -= 1
        self._shares[public] -= 1
        if not self._shares[public]:
            del self._shares[public]

    def _make_room(self) -> None:
        greediest = max(self._shares, key=lambda public: self._shares[public])
        key = min(
            (key for key, kept in self._keys.items() if greediest in kept),
            key=lambda key: self._keys[key][greediest].until,
        )
        self._remove(key, greediest)
