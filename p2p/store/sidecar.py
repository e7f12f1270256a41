"""The midstate list beside a complete blob: the list behind its own SHA-256."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from p2p.core.swarm.midstates import Midstates
from p2p.store.files import read_file, write_all

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.swarm.chunks import Layout
    from p2p.store.files import Files

MAGIC: Final = b"remora-midstates-1\n"

LIMIT: Final = 128 << 20
"""More than the list of the largest blob, and its journal, can take."""


def encode(midstates: Midstates) -> bytes:
    """Encode a list."""
    return MAGIC + midstates.list_id() + midstates.states


def decode(algorithm: str, layout: Layout, data: bytes) -> Midstates:
    """Read a list back; an empty one where the file is damaged or not of this blob."""
    known = len(MAGIC) + 32
    if not data.startswith(MAGIC) or len(data) < known:
        return Midstates(algorithm)
    try:
        midstates = Midstates(algorithm, data[known:])
    except ValueError:
        return Midstates(algorithm)
    if midstates.list_id() != data[len(MAGIC) : known] or not midstates.full(layout.count):
        return Midstates(algorithm)
    return midstates


def read(files: Files, path: Path, algorithm: str, layout: Layout) -> Midstates:
    """Read a list's file; an empty one where there is none, or it is damaged."""
    try:
        return decode(algorithm, layout, read_file(files, path, LIMIT))
    except OSError:
        return Midstates(algorithm)


def write(files: Files, path: Path, midstates: Midstates) -> None:
    """Write a list's file and sync it once; OSError where either fails."""
    content = encode(midstates)
    fd = files.create(path, len(content))
    try:
        write_all(files, fd, memoryview(content), 0)
        files.sync(fd)
    finally:
        os.close(fd)
