"""Proof that a node receives where it sends from: tokens bound to address and id, without state for each.

As SYN cookies and BEP 5's tokens: what was given can be recomputed, so a flood of claims costs no memory.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from p2p.core.dht.messages import TOKEN_BYTES

if TYPE_CHECKING:
    from p2p.core.dht.contact import Endpoint
    from p2p.core.dht.sealing import Entropy

ROTATE: Final = 300.0
"""Seconds between two secrets; a token holds under the current one and the one before."""


class Tokens:
    """Gives and checks tokens. Times are seconds of the shell's clock."""

    def __init__(self, entropy: Entropy, now: float) -> None:
        self._entropy = entropy
        self._current = self._before = entropy(32)
        self._rotate_at = now + ROTATE

    def give(self, endpoint: Endpoint, sender: bytes, now: float) -> bytes:
        """Make the token of a node at an address."""
        self._rotate(now)
        return _token(self._current, endpoint, sender)

    def holds(self, token: bytes, endpoint: Endpoint, sender: bytes, now: float) -> bool:
        """Whether this token was given there, not more than two rotations ago."""
        self._rotate(now)
        return token in (_token(self._current, endpoint, sender), _token(self._before, endpoint, sender))

    def _rotate(self, now: float) -> None:
        if now < self._rotate_at:
            return
        # Silent for two turns: the current secret is too old as well.
        late = now >= self._rotate_at + ROTATE
        self._before = self._entropy(32) if late else self._current
        self._current = self._entropy(32)
        self._rotate_at = now + ROTATE if late else self._rotate_at + ROTATE


def _token(secret: bytes, endpoint: Endpoint, sender: bytes) -> bytes:
    place = endpoint.port.to_bytes(2, "big") + endpoint.ip + sender
    return hashlib.blake2b(place, key=secret, digest_size=TOKEN_BYTES).digest()
