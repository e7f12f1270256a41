"""A set of chunk indices as bits of one integer: set operations on whole fields cost next to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Bitfield:
    """Which of ``count`` chunks are there. On the wire: little-endian bytes, chunk 0 the lowest bit.

    ``bits``: the same as an integer, chunk 0 the lowest; ``size``: how many. For others to read.
    """

    __slots__ = ("bits", "count", "size")

    def __init__(self, count: int, chunks: Iterable[int] = ()) -> None:
        self.count = count
        self.bits = 0
        self.size = 0
        for index in chunks:
            self.add(index)

    @classmethod
    def full(cls, count: int) -> Bitfield:
        """Every chunk."""
        return cls.from_int(count, (1 << count) - 1)

    @classmethod
    def from_int(cls, count: int, bits: int) -> Bitfield:
        """Take bits as an integer; ValueError for bits beyond ``count``."""
        if bits < 0 or bits >> count:
            raise ValueError(f"bits beyond chunk {count - 1}")
        field = cls(count)
        field.bits = bits
        field.size = bits.bit_count()
        return field

    @classmethod
    def from_bytes(cls, count: int, data: bytes) -> Bitfield:
        """Read the wire form; ValueError where it is longer than needed or sets bits beyond ``count``."""
        if len(data) > (count + 7) // 8:
            raise ValueError(f"a bitfield of {len(data)} bytes for {count} chunks")
        return cls.from_int(count, int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """Write the wire form: ``ceil(count / 8)`` bytes."""
        return self.bits.to_bytes((self.count + 7) // 8, "little")

    @property
    def complete(self) -> bool:
        """Whether all chunks are there."""
        return self.size == self.count

    def add(self, index: int) -> bool:
        """Add a chunk; False where it was there. IndexError outside ``[0, count)``."""
        if not 0 <= index < self.count:
            raise IndexError(f"chunk {index} of {self.count}")
        bit = 1 << index
        if self.bits & bit:
            return False
        self.bits |= bit
        self.size += 1
        return True

    def join(self, bits: int) -> None:
        """Add all of ``bits``; ValueError for bits beyond ``count``."""
        bits |= self.bits
        if bits < 0 or bits >> self.count:
            raise ValueError(f"bits beyond chunk {self.count - 1}")
        self.bits = bits
        self.size = bits.bit_count()

    def prefix(self, start: int = 0) -> int:
        """First chunk from ``start`` on that is missing (``count`` where none is)."""
        missing = ~(self.bits >> start)
        return min(self.count, start + (missing & -missing).bit_length() - 1)

    def copy(self) -> Bitfield:
        """Give an independent copy."""
        return Bitfield.from_int(self.count, self.bits)

    def __contains__(self, index: int) -> bool:
        return index >= 0 and bool(self.bits >> index & 1)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter_bits(self.bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bitfield) and (self.count, self.bits) == (other.count, other.bits)

    __hash__ = None  # type: ignore[assignment]  # mutable: unhashable on purpose

    def __repr__(self) -> str:
        return f"<Bitfield {self.size}/{self.count}>"


def iter_bits(bits: int) -> Iterator[int]:
    """Yield the indices of the set bits, ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
