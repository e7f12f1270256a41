"""The seal around every datagram: AES-256-GCM under a key of the cluster, checked before anything is read.

::

    1 version │ 4 key id │ 8 milliseconds of Unix time │ 24 nonce │ sealed message │ 16 tag
    └──────────────── in clear, authenticated ─────────────────┘

The first half of the nonce and the cluster's key give the datagram's own key (HMAC-SHA256), the second half
is the GCM nonce under it: one key of the cluster may then seal as many datagrams as all its nodes ever send,
where GCM with random nonces of 96 bits allows 2³² under one key (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from p2p.core.dht.replay import ReplayWindow

VERSION: Final = 1
KEY_BYTES: Final = 32
MAX_DATAGRAM: Final = 1200
"""Bytes, with the seal: fits every path's MTU with room for tunnels."""
MAX_KEYS: Final = 2
HEADER: Final = 37
TAG: Final = 16
OVERHEAD: Final = HEADER + TAG
MAX_MESSAGE: Final = MAX_DATAGRAM - OVERHEAD

_SALT: Final = slice(13, 25)
_NONCE: Final = slice(25, 37)
_LIVE: Final = hmac.digest(b"remora dht", b"key id", "sha256")

Entropy = Callable[[int], bytes]
"""Gives so many unpredictable bytes."""


class Aead(Protocol):
    """AES-256-GCM; the core is handed it, as it is handed its random bytes."""

    def seal(self, key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        """Give the ciphertext and its tag of 16 bytes."""
        ...

    def open(self, key: bytes, nonce: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes | None:
        """Give the plain text, None where the tag does not hold."""
        ...


class Dropped(Enum):
    """Why a datagram got no attention."""

    OVERSIZED = "oversized"
    SHORT = "short"
    VERSION = "version"
    FOREIGN = "foreign"
    """Under a key that is not in the ring."""
    STALE = "stale"
    FORGED = "forged"
    REPLAYED = "replayed"
    MALFORMED = "malformed"
    """Sealed by a member, and no message."""
    UNEXPECTED = "unexpected"
    """An answer that nobody here waits for, or one's own words."""


def key_id(key: bytes) -> bytes:
    """Give the four bytes that name a cluster's key without telling it."""
    return hmac.digest(key, _LIVE, "sha256")[:4]


def blob_key(key: bytes, digest: str) -> bytes:
    """Give the DHT's key for a blob: an outsider who knows the digest can't tell it."""
    return hmac.digest(key, b"remora dht blob\0" + digest.encode(), "sha256")[:20]


class Sealer:
    """Seals under the first key of a ring, opens under all of them (two at most)."""

    def __init__(self, keys: Sequence[bytes], *, aead: Aead, entropy: Entropy, replays: ReplayWindow) -> None:
        if not 1 <= len(keys) <= MAX_KEYS or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a ring has one or two keys of {KEY_BYTES} bytes")
        self.keys = tuple(keys)
        self._ids = {key_id(key): key for key in keys}
        self._prefix = bytes([VERSION]) + key_id(keys[0])
        self._aead = aead
        self._entropy = entropy
        self._replays = replays

    def seal(self, message: bytes, wall: float) -> bytes:
        """Give the datagram. ValueError for a message longer than ``MAX_MESSAGE``."""
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"{len(message)} bytes, the limit is {MAX_MESSAGE}")
        header = self._prefix + int(wall * 1000).to_bytes(8, "big") + self._entropy(24)
        key = hmac.digest(self.keys[0], header[_SALT], hashlib.sha256)
        return header + self._aead.seal(key, header[_NONCE], message, header)

    def open(self, datagram: memoryview, wall: float) -> bytes | Dropped:
        """Give the message's bytes, or why there are none. The cheap checks come first."""
        size = len(datagram)
        if size > MAX_DATAGRAM:
            return Dropped.OVERSIZED
        if size < OVERHEAD:
            return Dropped.SHORT
        if datagram[0] != VERSION:
            return Dropped.VERSION
        header = bytes(datagram[:HEADER])
        cluster = self._ids.get(header[1:5])
        if cluster is None:
            return Dropped.FOREIGN
        sent = int.from_bytes(header[5:13], "big") / 1000
        if not self._replays.fresh(sent, wall):
            return Dropped.STALE
        key = hmac.digest(cluster, header[_SALT], hashlib.sha256)
        plain = self._aead.open(key, header[_NONCE], datagram[HEADER:], header)
        if plain is None:
            return Dropped.FORGED
        return plain if self._replays.add(header[13:], sent, wall) else Dropped.REPLAYED
