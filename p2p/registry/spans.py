"""Spans of open files, taken from a transfer's stream."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from p2p.errors import StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.net.message import FileSpan


@asynccontextmanager
async def closing(
    spans: AsyncIterator[FileSpan | bytes],
) -> AsyncIterator[AsyncIterator[FileSpan | bytes]]:
    """Close an iterator of spans when leaving, early or not, if it is one that can be closed."""
    try:
        yield spans
    finally:
        close = getattr(spans, "aclose", None)
        if close is not None:
            await close()


def length_of(part: FileSpan | bytes) -> int:
    """Bytes of one part of a body."""
    return len(part) if isinstance(part, bytes) else part.length


def read_part(part: FileSpan | bytes) -> bytes:
    """Give a small part's bytes; a file is read in this thread, as it was written or found a moment ago.

    Raises StoreCorruptError if the file ends early.
    """
    if isinstance(part, bytes):
        return part
    pieces = []
    offset, left = part.offset, part.length
    while left:
        piece = os.pread(part.fd, left, offset)
        if not piece:
            raise StoreCorruptError("a stored blob", f"its file ends {left} bytes early", "Run remora scrub")
        pieces.append(piece)
        offset, left = offset + len(piece), left - len(piece)
    return b"".join(pieces)
