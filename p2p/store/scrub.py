"""Hashing a complete blob as it lies on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from p2p.store.chain import Rehash
from p2p.store.files import read_all

if TYPE_CHECKING:
    from p2p.core.swarm.chunks import Layout
    from p2p.store.chain import Chain
    from p2p.store.files import Files
    from p2p.store.workers import Workers


async def rehash(workers: Workers, files: Files, chain: Chain, fd: int, *, cold: bool) -> Rehash:
    """Hash the blob behind ``fd``, one chunk a hop so that other work gets its turn.

    ``cold``: ask the disk, not the page cache. A part that can't be read ends it: as bad as one that lies.
    """
    if cold:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    found = Rehash(chain)
    buffer = memoryview(bytearray(chain.layout.chunk))
    while found.next < chain.layout.count:
        if not await workers.hash(str(chain.digest), _feed, files, found, fd, buffer, chain.layout):
            break
    return found


def _feed(files: Files, found: Rehash, fd: int, buffer: memoryview, layout: Layout) -> bool:
    piece = buffer[: layout.length(found.next)]
    try:
        read_all(files, fd, piece, layout.offset(found.next))
    except OSError:
        return False
    found.feed(piece)
    return True
