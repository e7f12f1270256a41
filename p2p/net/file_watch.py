"""Notices that files were changed, by asking when it matters in place of a task that polls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class FileWatch:
    """Tells whether ``paths`` differ from the last time it was asked; the first time they do.

    By modification time, size and inode, so that an editor's rename and a mounted secret's new link count.
    A few microseconds on a local disk: less than it would cost to ask in a thread.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen: object = None

    def changed(self) -> bool:
        """Look. A file that is missing differs from any that is there."""
        now = tuple(_signature(path) for path in self._paths)
        if now == self._seen:
            return False
        # What is read after this is at least as new: a change in between is seen the next time.
        self._seen = now
        return True


def _signature(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
