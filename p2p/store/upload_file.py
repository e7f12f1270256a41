"""The file of one upload. Everything here blocks: it runs in worker threads."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from p2p.errors import StoreUnhealthyError
from p2p.store import sidecar
from p2p.store.files import read_all, synced, write_all
from p2p.store.paths import MIDSTATES, PIN
from p2p.store.running import CELL, RunningHash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.midstates import Midstates
    from p2p.store.files import Files
    from p2p.store.paths import Paths


class UploadFile:
    """An upload's bytes on disk, open, and their hash: ``running.length`` of them are whole cells.

    The file is as long as what was accepted, so that it needs no journal. ``end``: how far it may reach
    beyond that, where a write failed half way. ``tail``: bytes behind the last whole cell that are on disk.
    ``gone``: there is nothing left to resume. OSError wherever the disk fails.
    """

    def __init__(self, files: Files, paths: Paths, path: Path, running: RunningHash, length: int) -> None:
        self.files = files
        self.running = running
        self.end = length
        self.tail = 0
        self.gone = False
        self._paths = paths
        self._path = path
        self._closed = False
        self.fd = files.create(path, length)

    @classmethod
    def found(cls, files: Files, paths: Paths, path: Path, running: RunningHash) -> UploadFile:
        """Open one that is there, as long as it is; ``restore`` hashes it."""
        fd = files.open(path)
        try:
            length = os.fstat(fd).st_size
        finally:
            os.close(fd)
        return cls(files, paths, path, running, length)

    def restore(self, buffer: memoryview, cells: int) -> bool:
        """Hash up to ``cells`` of what is on disk, one at a time in ``buffer``.

        False: there is more. True: the buffer holds the ``tail``. What can't be read ends it: the upload goes
        on from there.
        """
        for _ in range(cells):
            piece = buffer[: min(CELL, self.end - self.running.length)]
            try:
                read_all(self.files, self.fd, piece, self.running.length)
            except OSError:
                return True
            if piece.nbytes < CELL:
                self.tail = piece.nbytes
                return True
            self.running.feed(piece)
        return False

    def take(self, cells: memoryview) -> None:
        """Write whole cells behind those taken, and hash them."""
        self._put(cells)
        self.running.feed(cells)
        self.tail = 0

    def keep(self, tail: memoryview) -> None:
        """Write what follows the last whole cell, and let the file end there."""
        if tail.nbytes:
            self._put(tail)
        self.tail = tail.nbytes
        size = self.running.length + tail.nbytes
        if self.end > size:
            os.close(self.files.create(self._path, size))
            self.end = size

    def seal(
        self, tail: memoryview, digest: Digest, midstates: Midstates, *, pin: bool, leftovers: Sequence[Path]
    ) -> None:
        """Make it a complete blob, durably, and mark it as pinned before it is one.

        StoreUnhealthyError, and nothing left, if a sync fails. ``leftovers`` go when it is done.
        """
        blob, listed, mark = (self._paths.blob(digest, suffix) for suffix in ("", MIDSTATES, PIN))
        self.keep(tail)
        if midstates.length:
            sidecar.write(self.files, listed, midstates)
        marks = [mark] if pin else []
        for path in marks:
            os.close(self.files.create(path, 0))
        made = [self._path, blob, listed, *marks]
        self._synced(digest, lambda: self.files.sync(self.fd), made)
        try:
            self.files.rename(self._path, blob)
        except OSError:
            self._unlink(marks)
            raise
        self._synced(digest, lambda: self.files.sync_directory(blob.parent), made)
        self.gone = True
        self._unlink(leftovers)

    def delete(self) -> None:
        """Delete it."""
        self.gone = True
        self.files.unlink(self._path)

    def close(self) -> None:
        """Close the descriptor."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)

    def _put(self, data: memoryview) -> None:
        # Before the write: one that fails may have written some of it.
        self.end = max(self.end, self.running.length + data.nbytes)
        write_all(self.files, self.fd, data, self.running.length)

    def _synced(self, digest: Digest, sync: Callable[[], None], made: Sequence[Path]) -> None:
        try:
            synced(self.files, str(digest), sync, made)
        except StoreUnhealthyError:
            self.gone = True
            raise

    def _unlink(self, paths: Iterable[Path]) -> None:
        for path in paths:
            # What stays belongs to nothing: the next start removes it.
            with suppress(OSError):
                self.files.unlink(path)
