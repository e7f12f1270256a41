"""The store on disk: one directory, one node at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Self

import trio

from p2p.errors import StoreError
from p2p.store.content import ContentStore
from p2p.store.files import OsFiles, fault
from p2p.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from p2p.config import StoreSettings
    from p2p.core.oci.digest import Digest
    from p2p.store.scan import Disk
    from p2p.store.verify import LinkHasher


class DiskStore(ContentStore):
    """``Store`` under a directory. ``close`` (or leaving ``with``) lets another node have the directory."""

    _lock: int = -1

    @classmethod
    async def load(
        cls,
        root: Path,
        settings: StoreSettings,
        *,
        hasher: LinkHasher | None = None,
        withdraw: Callable[[Digest], None] | None = None,
        files: Disk | None = None,
    ) -> DiskStore:
        """Lock the directory, which is made where missing, and read what is in it.

        ``withdraw`` is called before a blob that was announced goes (evicted, removed or bad). StoreError
        where the directory can't be used, or another node uses it.
        """
        paths = Paths(root)
        lock = await trio.to_thread.run_sync(_lock, paths)
        try:
            store = cls(files or OsFiles(root), paths, settings, hasher=hasher, withdraw=withdraw)
            store._lock = lock
            await store.recover()
        except BaseException:
            os.close(lock)
            raise
        return store

    def close(self) -> None:
        """Unlock the directory. Partial blobs must be closed before; what isn't is resumed all the same."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(paths: Paths) -> int:
    """Take the directory's lock: it goes with the process, however that ends."""
    try:
        paths.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(
            str(paths.root),
            f"can't be used as the store's directory: {error.strerror}",
            "Name a directory that this user may write to, with `state` or --state.",
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise fault(str(paths.lock), error) from error
        raise StoreError(
            str(paths.root),
            "another node uses this directory",
            "Stop it, or give this one a directory of its own with `state` or --state.",
        ) from error
    return fd
