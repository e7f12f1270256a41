"""The journal of a partial blob: a pure encoding, an append-only log of checksummed records.

It is advisory. What it claims is verified against the bytes on disk when it is read again, so it needs no
fsync: a killed process leaves its writes in the page cache, and after a power cut the worst is chunks
that are fetched again. A record is ``kind u8, length u32, payload, crc32 u32`` (little-endian), the crc
over all before it; reading ends at the first one that is cut or damaged, and what follows is overwritten.

Kinds: ``HEADER`` (version u8, algorithm and hex of the digest as text, size u64), first; ``LIST`` (start
u32, states): the midstate list from state ``start`` on, dropping what was there; ``CHUNKS`` (pairs of
first u32, count u32): chunks that were written.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import Midstates

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
HEADER, LIST, CHUNKS = 1, 2, 3

HEADER_LIMIT: Final = 256
"""The header record is always shorter than so many bytes."""

_FRAME = struct.Struct("<BI")
_CRC = struct.Struct("<I")
_START = struct.Struct("<I")
_RUN = struct.Struct("<II")
_SIZE = struct.Struct("<BQ")


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal says: ``written`` chunks, the list, and how many bytes of the file are good."""

    digest: Digest
    layout: Layout
    midstates: Midstates
    written: Bitfield
    length: int


def header(digest: Digest, size: int) -> bytes:
    """Encode the first record."""
    return _record(HEADER, _SIZE.pack(VERSION, size) + str(digest).encode())


def states(start: int, tail: bytes) -> bytes:
    """Encode the list from state ``start`` on."""
    return _record(LIST, _START.pack(start) + tail)


def chunks(indices: Iterable[int]) -> bytes:
    """Encode written chunks, ascending, as runs."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([index, 1])
    return _record(CHUNKS, b"".join(_RUN.pack(first, count) for first, count in runs))


def difference(old: Midstates, new: Midstates) -> bytes:
    """Encode what turns ``old`` into ``new``; empty where they are equal."""
    if old.states == new.states:
        return b""
    parting = old.disagreement(new)
    start = min(old.length, new.length) if parting is None else parting - 1
    return states(start, new.states[start * new.width :])


def begun(data: bytes) -> tuple[Digest, int] | None:
    """Read digest and size from a journal's beginning; None where it is none."""
    for kind, payload, _ in _records(data):
        return _header(payload) if kind == HEADER else None
    return None


def replay(data: bytes) -> Replay | None:
    """Read a journal as far as it is whole; None where not even its beginning is."""
    start = begun(data)
    if start is None:
        return None
    digest, size = start
    layout = Layout(size)
    midstates = Midstates(digest.algorithm)
    written = 0
    length = 0
    for kind, payload, end in _records(data):
        try:
            if kind == LIST:
                midstates = _listed(midstates, payload, layout)
            elif kind == CHUNKS:
                written |= _written(payload, layout)
        except (ValueError, struct.error):
            # Whole, but not of our making: a bug or a foreign version. What came before still counts.
            break
        length = end
    return Replay(digest, layout, midstates, Bitfield.from_int(layout.count, written), length)


def _record(kind: int, payload: bytes) -> bytes:
    body = _FRAME.pack(kind, len(payload)) + payload
    return body + _CRC.pack(zlib.crc32(body))


def _records(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield kind, payload and end of each record, as far as they are whole."""
    view = memoryview(data)
    position = 0
    while position + _FRAME.size + _CRC.size <= len(data):
        kind, length = _FRAME.unpack_from(data, position)
        end = position + _FRAME.size + length
        if end + _CRC.size > len(data) or zlib.crc32(view[position:end]) != _CRC.unpack_from(data, end)[0]:
            return
        payload = data[position + _FRAME.size : end]
        position = end + _CRC.size
        yield kind, payload, position


def _header(payload: bytes) -> tuple[Digest, int] | None:
    try:
        version, size = _SIZE.unpack_from(payload)
        if version != VERSION:
            return None
        return Digest.parse(payload[_SIZE.size :].decode("ascii")), Layout(size).size
    except (struct.error, ValueError, RegistryError):
        return None


def _listed(midstates: Midstates, payload: bytes, layout: Layout) -> Midstates:
    joined = midstates.joined(_START.unpack_from(payload)[0], payload[_START.size :])
    if joined.length >= layout.count:
        raise ValueError("a list longer than the blob")
    return joined


def _written(payload: bytes, layout: Layout) -> int:
    bits = 0
    for first, count in _RUN.iter_unpack(payload):
        if first + count > layout.count:
            raise ValueError("a chunk beyond the blob")
        bits |= ((1 << count) - 1) << first
    return bits
