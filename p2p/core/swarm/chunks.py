"""How a blob is cut into chunks: a function of its size alone, so that all nodes agree without talking."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1 << 20
GIB = 1 << 30

SMALL, SMALL_BELOW = 1 * MIB, 256 * MIB
MEDIUM, MEDIUM_BELOW = 4 * MIB, 16 * GIB
LARGE = 16 * MIB

MAX_BLOB = 1 << 44
"""16 TiB: no claimed size above this is believed (a midstate list of it is 32 MiB)."""


def chunk_size(size: int) -> int:
    """Bytes of a chunk of a blob of ``size`` bytes; always a multiple of 128, SHA-512's block."""
    if size < SMALL_BELOW:
        return SMALL
    return MEDIUM if size < MEDIUM_BELOW else LARGE


@dataclass(frozen=True, slots=True)
class Layout:
    """The chunks of a blob of ``size`` bytes: ``count`` of ``chunk`` bytes each, the last one shorter.

    An empty blob has one chunk of no bytes, so that every blob has a last link. ValueError for a size
    that is negative or above ``MAX_BLOB``.
    """

    size: int
    chunk: int = field(init=False)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_BLOB:
            raise ValueError(f"blob size {self.size} is not within 0 and {MAX_BLOB}")
        chunk = chunk_size(self.size)
        object.__setattr__(self, "chunk", chunk)
        object.__setattr__(self, "count", max(1, -(-self.size // chunk)))

    @property
    def last(self) -> int:
        """Index of the last chunk, the one whose link gives the digest."""
        return self.count - 1

    def offset(self, index: int) -> int:
        """First byte of chunk ``index``; for ``index == count`` the blob's size."""
        return min(index * self.chunk, self.size)

    def length(self, index: int, count: int = 1) -> int:
        """Bytes in ``count`` chunks from ``index``."""
        return self.offset(index + count) - self.offset(index)

    def covering(self, start: int, stop: int) -> range:
        """Chunks that hold any byte of ``[start, stop)``."""
        stop = min(stop, self.size)
        if start >= stop:
            return range(0)
        return range(start // self.chunk, -(-stop // self.chunk))
