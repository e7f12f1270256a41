"""The in-memory twin: the same store over memory files (``memfd_create``), so that sendfile works too."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from p2p.config import StoreSettings
from p2p.store.content import ContentStore
from p2p.store.files import Entry, OsFiles, Space
from p2p.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.oci.digest import Digest
    from p2p.store.verify import LinkHasher

UNBOUNDED = 1 << 50
"""Bytes that memory claims to have where nobody says how many."""


class MemoryFiles(OsFiles):
    """``Files`` and ``Volume`` whose names live in a dict; ``capacity`` in bytes."""

    def __init__(self, capacity: int = UNBOUNDED) -> None:
        super().__init__(Path("/"))
        self._capacity = capacity
        self._names = threading.Lock()
        self._files: dict[Path, int] = {}
        self._ticks = itertools.count(1)
        self._used: dict[int, int] = {}

    def open(self, path: Path) -> int:
        """``Files.open``."""
        with self._names:
            if path not in self._files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            return os.dup(self._files[path])

    def create(self, path: Path, size: int) -> int:
        """``Files.create``."""
        with self._names:
            if path not in self._files:
                self._files[path] = os.memfd_create(path.name[:64], os.MFD_CLOEXEC)
                self._mark(self._files[path])
            fd = os.dup(self._files[path])
        os.ftruncate(fd, size)
        return fd

    def sync(self, fd: int) -> None:
        """``Files.sync``: memory has nothing to sync."""

    def rename(self, old: Path, new: Path) -> None:
        """``Files.rename``."""
        with self._names:
            moved = self._files.pop(old)
            replaced = self._files.pop(new, None)
            self._files[new] = moved
            self._mark(moved)
        if replaced is not None:
            os.close(replaced)

    def sync_directory(self, path: Path) -> None:
        """``Files.sync_directory``: nothing to sync."""

    def unlink(self, path: Path) -> None:
        """``Files.unlink``."""
        with self._names:
            fd = self._files.pop(path, None)
        if fd is not None:
            os.close(fd)

    def entries(self, directory: Path) -> list[Entry]:
        """``Volume.entries``."""
        found = []
        with self._names:
            for path, fd in self._files.items():
                if path.parent == directory:
                    status = os.fstat(fd)
                    occupied = min(status.st_size, status.st_blocks * 512)
                    found.append(Entry(path.name, status.st_size, occupied, self._used[status.st_ino]))
        return found

    def space(self) -> Space:
        """``Volume.space``."""
        with self._names:
            used = sum(os.fstat(fd).st_blocks * 512 for fd in self._files.values())
        return Space(max(0, self._capacity - used), self._capacity)

    def touch(self, fd: int) -> None:
        """``Volume.touch``: a count stands for the time."""
        self._mark(fd)

    def close(self) -> None:
        """Free all memory that no reader holds."""
        for path in list(self._files):
            self.unlink(path)

    def _mark(self, fd: int) -> None:
        self._used[os.fstat(fd).st_ino] = next(self._ticks)


class MemoryStore(ContentStore):
    """A store that ends with its process; give it the ``files`` of an earlier one to go on from there."""

    def __init__(
        self,
        settings: StoreSettings | None = None,
        *,
        files: MemoryFiles | None = None,
        hasher: LinkHasher | None = None,
        withdraw: Callable[[Digest], None] | None = None,
    ) -> None:
        self.files = files or MemoryFiles()
        super().__init__(
            self.files, Paths(Path("/memory")), settings or StoreSettings(), hasher=hasher, withdraw=withdraw
        )

    def close(self) -> None:
        """Free the memory."""
        self.files.close()
