"""Midstate lists: the chaining values of a Merkle-Damgård hash at chunk boundaries.

With ``s[0]`` the initial value and ``s[i+1] = F(s[i], chunk[i])``, the list of a blob of n chunks is
``s[1] … s[n-1]``; the last link, ``F(s[n-1], last chunk, padding)``, is the digest (FIPS 180-4, §6).
Chunk i holds iff hashing it from ``s[i]`` gives ``s[i+1]``. When every link holds, the blob has the
digest by definition, wherever the list came from. One link alone proves only that a chunk agrees with
this list. The hashing itself is ``p2p.store.verify``.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

INITIAL: Final[dict[str, bytes]] = {
    # The initial hash values of FIPS 180-4, §5.3.3 and §5.3.5, as big-endian words.
    "sha256": struct.pack(
        ">8I", 0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19
    ),
    "sha512": struct.pack(
        ">8Q",
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ),
}


@dataclass(frozen=True, slots=True)
class Midstates:
    """A list, or a prefix of one: ``states`` is ``s[1] … s[length]`` end to end, big-endian words.

    ``algorithm`` is ``sha256`` (32 bytes a state) or ``sha512`` (64). Immutable; ValueError where
    ``states`` is not a whole number of states.
    """

    algorithm: str
    states: bytes = b""
    length: int = field(init=False, repr=False, compare=False)
    """How many states; links 0 … length-1 are known."""

    def __post_init__(self) -> None:
        length, rest = divmod(len(self.states), self.width)
        if rest:
            raise ValueError(f"{len(self.states)} bytes are no whole number of {self.algorithm} states")
        object.__setattr__(self, "length", length)

    @property
    def width(self) -> int:
        """Bytes of a state."""
        return len(INITIAL[self.algorithm])

    def state(self, index: int) -> bytes:
        """``s[index]``; ``s[0]`` is the initial value. IndexError beyond the list."""
        if index == 0:
            return INITIAL[self.algorithm]
        if not 0 < index <= self.length:
            raise IndexError(f"state {index} of a list of {self.length}")
        return self.states[(index - 1) * self.width : index * self.width]

    def prefix(self, length: int) -> Midstates:
        """Give the first ``length`` states."""
        return Midstates(self.algorithm, self.states[: length * self.width])

    def joined(self, start: int, states: bytes) -> Midstates:
        """Give the list whose states after ``start`` are ``states``; ValueError for a ``start`` beyond it."""
        if not 0 <= start <= self.length:
            raise ValueError(f"states from {start} do not follow a list of {self.length}")
        return Midstates(self.algorithm, self.states[: start * self.width] + states)

    def list_id(self) -> bytes:
        """SHA-256 of the list: what two nodes compare to know that theirs are the same."""
        return hashlib.sha256(self.states).digest()

    def agrees(self, other: Midstates) -> bool:
        """Whether one is a prefix of the other (or they are equal)."""
        if len(self.states) <= len(other.states):
            return other.states.startswith(self.states)
        return self.states.startswith(other.states)

    def disagreement(self, other: Midstates) -> int | None:
        """Index of the first state that differs, None where they agree."""
        if self.agrees(other):
            return None
        low, high = 0, min(self.length, other.length)
        while high - low > 1:
            middle = (low + high) // 2
            cut = middle * self.width
            low, high = (middle, high) if self.states[:cut] == other.states[:cut] else (low, middle)
        return high

    def full(self, count: int) -> bool:
        """Whether every link of a blob of ``count`` chunks is known, the last by the digest."""
        return self.length == count - 1
