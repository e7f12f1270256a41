"""Hashing a complete blob as it lies on disk, and the record of when that was last done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.digest import ALGORITHMS, Digest
from p2p.core.swarm.midstates import Midstates
from p2p.store import sidecar
from p2p.store.chain import Rehash
from p2p.store.files import read_all
from p2p.store.paths import MIDSTATES, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from p2p.core.swarm.chunks import Layout
    from p2p.store.chain import Chain
    from p2p.store.files import Files
    from p2p.store.paths import Paths
    from p2p.store.scan import Disk
    from p2p.store.workers import Workers


async def scrub(
    workers: Workers, disk: Disk, chain: Chain, fd: int, path: Path, share: float, here: Callable[[], object]
) -> bool:
    """Whether the blob behind ``fd`` still has its digest; takes at most this ``share`` of the time.

    Where it has, and is ``here`` still, its list at ``path`` is marked as verified now, and written anew if
    it was lost; a blob of one chunk has an empty one for that. StoreError where that fails.
    """
    found = await rehash(workers, disk, chain, fd, cold=True, share=share)
    # It was idle: what was read of it only takes memory from those that are not.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if found.holds and here():
        midstates = Midstates(chain.digest.algorithm, found.states)
        await workers.disk(str(chain.digest), _mark, disk, path, midstates, chain.layout)
    return found.holds


def verified(disk: Disk, paths: Paths) -> dict[Digest, int]:
    """Give the record: when each blob was last hashed, here or while it came. Blocks.

    A number that grows with time. Blobs of one chunk that were never scrubbed are not in it.
    """
    return {
        digest: entry.used
        for algorithm in ALGORITHMS
        for entry in disk.entries(paths.blobs(algorithm))
        if (digest := digest_of(algorithm, entry.name, MIDSTATES)) is not None
    }


async def rehash(
    workers: Workers, files: Files, chain: Chain, fd: int, *, cold: bool, share: float = 1.0
) -> Rehash:
    """Hash the blob behind ``fd``, one chunk a hop so that other work gets its turn.

    ``cold``: ask the disk, not the page cache. ``share``: the part of the time that it may take, by a pause
    behind each chunk. A part that can't be read ends it: as bad as one that lies.
    """
    if cold:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    found = Rehash(chain)
    buffer = memoryview(bytearray(chain.layout.chunk))
    while found.next < chain.layout.count:
        start = trio.current_time()
        if not await workers.hash(str(chain.digest), _feed, files, found, fd, buffer, chain.layout):
            break
        if share < 1.0:
            await trio.sleep((trio.current_time() - start) * (1.0 / share - 1.0))
    return found


def _feed(files: Files, found: Rehash, fd: int, buffer: memoryview, layout: Layout) -> bool:
    piece = buffer[: layout.length(found.next)]
    try:
        read_all(files, fd, piece, layout.offset(found.next))
    except OSError:
        return False
    found.feed(piece)
    return True


def _mark(disk: Disk, path: Path, midstates: Midstates, layout: Layout) -> None:
    known = sidecar.read(disk, path, midstates.algorithm, layout)
    if not known.length:
        sidecar.write(disk, path, midstates)
    fd = disk.open(path)
    try:
        disk.touch(fd)
    finally:
        os.close(fd)
