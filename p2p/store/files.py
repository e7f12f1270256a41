"""The system calls that the store lives on, as a seam, and their errors mapped once.

Everything blocks and raises OSError: it is called from worker threads. Tests hand in a ``Files`` that
fails at the k-th call; the in-memory store one over memory files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from p2p.errors import StoreError, StoreFullError, StoreUnhealthyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OURS = {
    # Limits and rights of this process: the disk is well, and the next call may succeed.
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENFILE: "Raise the system's limit of open files (fs.file-max).",
    errno.ENOMEM: "Free memory.",
    errno.EACCES: "Make the state directory and all below it writable for this user.",
    errno.EPERM: "Make the state directory and all below it writable for this user.",
    errno.EFBIG: "Put the store on a filesystem that takes files of this size.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file of a directory: ``size`` in bytes, ``occupied`` on disk (less where sparse).

    ``used`` is its modification time in nanoseconds: the store's record of the last use.
    """

    name: str
    size: int
    occupied: int
    used: int


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a filesystem: free to us, and in all."""

    free: int
    total: int


class Files(Protocol):
    """Files by path. The paths come from ``Paths``, never from text of a peer."""

    def open(self, path: Path) -> int:
        """Open an existing file for reading."""
        ...

    def create(self, path: Path, size: int) -> int:
        """Open for reading and writing, make it where missing, and set its length (sparse)."""
        ...

    def read(self, fd: int, buffer: memoryview, offset: int) -> int:
        """``pread`` into a buffer; may be short."""
        ...

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """``pwrite``; may be short."""
        ...

    def sync(self, fd: int) -> None:
        """``fdatasync``."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Move a file, replacing what was there."""
        ...

    def sync_directory(self, path: Path) -> None:
        """``fsync`` a directory, so that the names in it last."""
        ...

    def unlink(self, path: Path) -> None:
        """Delete a file; one that isn't there is fine."""
        ...


class Volume(Protocol):
    """What the store asks of the filesystem as a whole."""

    def entries(self, directory: Path) -> list[Entry]:
        """Give the regular files of a directory, which is made where missing; links are left out."""
        ...

    def space(self) -> Space:
        """Measure the filesystem."""
        ...

    def touch(self, fd: int) -> None:
        """Record a use now."""
        ...


class OsFiles:
    """``Files`` and ``Volume`` of the operating system, for a store under ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: Path) -> int:
        """``Files.open``."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def create(self, path: Path, size: int) -> int:
        """``Files.create``. No fallocate.

        The reservation keeps the room; a claimed size must not be able to fill the disk; and writes of a
        chunk at a time leave few extents as it is.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def read(self, fd: int, buffer: memoryview, offset: int) -> int:
        """``Files.read``."""
        return os.preadv(fd, [buffer], offset)

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """``Files.write``."""
        return os.pwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        """``Files.sync``."""
        os.fdatasync(fd)

    def rename(self, old: Path, new: Path) -> None:
        """``Files.rename``."""
        old.replace(new)

    def sync_directory(self, path: Path) -> None:
        """``Files.sync_directory``."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        """``Files.unlink``."""
        path.unlink(missing_ok=True)

    def entries(self, directory: Path) -> list[Entry]:
        """``Volume.entries``."""
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        found = []
        with os.scandir(directory) as items:
            for item in items:
                status = item.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    occupied = min(status.st_size, status.st_blocks * 512)
                    found.append(Entry(item.name, status.st_size, occupied, status.st_mtime_ns))
        return found

    def space(self) -> Space:
        """``Volume.space``."""
        status = os.statvfs(self._root)
        return Space(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def touch(self, fd: int) -> None:
        """``Volume.touch``."""
        os.utime(fd)


def write_all(files: Files, fd: int, data: memoryview, offset: int) -> None:
    """Write every byte, however short the single writes are."""
    while data.nbytes:
        count = files.write(fd, data, offset)
        if count <= 0:
            raise OSError(errno.EIO, "a write took no byte")
        data = data[count:]
        offset += count


def read_all(files: Files, fd: int, buffer: memoryview, offset: int) -> None:
    """Fill the buffer; OSError where the file ends before."""
    while buffer.nbytes:
        count = files.read(fd, buffer, offset)
        if count <= 0:
            raise OSError(errno.EIO, "the file is shorter than it was written")
        buffer = buffer[count:]
        offset += count


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def read_file(files: Files, path: Path, limit: int) -> bytes:
    """Read at most the first ``limit`` bytes of a file."""
    fd = files.open(path)
    try:
        size = min(limit, os.fstat(fd).st_size)
        buffer = bytearray(size)
        read_all(files, fd, memoryview(buffer), 0)
    finally:
        os.close(fd)
    return bytes(buffer)


def synced(files: Files, subject: str, sync: Callable[[], None], made: Iterable[Path]) -> None:
    """Sync once, and discard what was ``made`` on a failure, StoreUnhealthyError.

    The kernel may have dropped the pages that it couldn't write: a second fsync would then report success
    for bytes that are lost.
    """
    try:
        sync()
    except OSError as error:
        for path in made:
            # The fault is told below; should the disk refuse this too, the next start removes strays.
            with suppress(OSError):
                files.unlink(path)
        raise StoreUnhealthyError(
            subject,
            f"the disk failed to sync it: {error.strerror}",
            "It was discarded. Check the disk (dmesg, smartctl), then restart the node.",
        ) from error


def fault(subject: str, error: OSError) -> StoreError:
    """Map a system error of the store's directory; ``subject`` names the blob or the file."""
    cause = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return StoreFullError(
            subject, f"can't be written: {cause}", "Free disk space, or lower `store.quota`."
        )
    if error.errno in _OURS:
        return StoreError(subject, f"can't be opened: {cause}", _OURS[error.errno])
    return StoreUnhealthyError(
        subject,
        f"the disk failed: {cause}",
        "Check the disk (dmesg, smartctl) and its mount, then restart the node.",
    )
