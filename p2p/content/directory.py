"""Shared content in a directory that all front ends mount: a network file system, or one disk.

Nothing is locked and nothing is ever written in place, so that NFS with its caches is good enough: a file is
written under a name of its own, synced, renamed, and its directory is synced. Everything goes through one
descriptor of the directory: what is mounted over it or away from it later is not mixed up with it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import trio

from p2p.content.api import ContentObject
from p2p.content.body import ThreadBody
from p2p.content.lent import LentFile
from p2p.errors import ConfigError, ContentError, ContentMissingError, ContentRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from p2p.content.api import ContentContext

    T = TypeVar("T")

TEMPORARY: Final = "tmp"
"""Where files are written. They are listed like all else: what a crash leaves there is an orphan, too."""
THREADS: Final = 16
_STEP: Final = 8 << 20
_WAYS: Final = os.O_RDONLY | os.O_CLOEXEC


class DirectoryContent:
    """``SharedContent`` below the open directory ``root``, which is the caller's to close."""

    def __init__(self, name: str, root: int) -> None:
        self.name = name
        self._root = root
        self._threads = trio.CapacityLimiter(THREADS)

    async def put(self, key: str, fd: int, size: int) -> None:
        """See ``SharedContent``."""
        try:
            await LentFile(fd).work(lambda lent: self._put(key, lent, size), self._threads)
        except OSError as error:
            raise self._mapped(key, error) from error

    @asynccontextmanager
    async def open(self, key: str, offset: int = 0, stop: int | None = None) -> AsyncGenerator[ThreadBody]:
        """See ``SharedContent``."""
        fd = await self._run(self._open, key)
        try:
            size = os.fstat(fd).st_size
            end = size if stop is None else min(stop, size)
            at = offset

            def fill(view: memoryview) -> int:
                nonlocal at
                count = os.preadv(fd, [view], at)
                at += count
                return count

            if offset > size:
                raise ContentError(self.name, f"{key} has {size} bytes, not {offset}")
            yield ThreadBody(
                self.name,
                fill,
                size=size,
                offset=offset,
                stop=end,
                limiter=self._threads,
                mapped=lambda error: self._mapped(key, error),
            )
        finally:
            os.close(fd)

    async def remove(self, key: str) -> None:
        """See ``SharedContent``."""
        await self._run(self._remove, key)

    async def keys(self, last: str = "", n: int = 1000) -> Sequence[ContentObject]:
        """See ``SharedContent``."""
        return await self._run(self._keys, last, n)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return await trio.to_thread.run_sync(work, *args, limiter=self._threads)
        except OSError as error:
            raise self._mapped(str(args[0]), error) from error

    def _mapped(self, key: str, error: Exception) -> ContentError:
        if isinstance(error, FileNotFoundError):
            return ContentMissingError(self.name, f"it has no object {key}")
        cause = getattr(error, "strerror", None) or str(error)
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return ContentRefusedError(
                self.name, f"{key}: {cause}", "Let the node's user write there, on every front end"
            )
        return ContentError(
            self.name, f"{key}: {cause}", "Check that it is mounted, and that it has room", retry_after=5.0
        )

    # In threads

    def _put(self, key: str, lent: LentFile, size: int) -> None:
        name = f"{TEMPORARY}/{secrets.token_hex(16)}"
        self._make(TEMPORARY)
        ways = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        out = os.open(name, ways, 0o640, dir_fd=self._root)
        try:
            try:
                _copy(lent, out, size)
                os.fsync(out)
            finally:
                os.close(out)
            folder = key.rpartition("/")[0]
            self._make(folder)
            os.rename(name, key, src_dir_fd=self._root, dst_dir_fd=self._root)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._root)
            raise
        self._sync(folder)

    def _make(self, folder: str) -> None:
        above = ""
        for part in filter(None, folder.split("/")):
            path = f"{above}/{part}" if above else part
            try:
                os.mkdir(path, 0o750, dir_fd=self._root)
            except FileExistsError:
                pass
            else:
                self._sync(above)
            above = path

    def _sync(self, folder: str) -> None:
        fd = os.open(folder or ".", _WAYS | os.O_DIRECTORY, dir_fd=self._root)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _open(self, key: str) -> int:
        try:
            return os.open(key, _WAYS, dir_fd=self._root)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return os.open(key, _WAYS, dir_fd=self._root)  # NFS knew an older directory

    def _remove(self, key: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(key, dir_fd=self._root)
            self._sync(key.rpartition("/")[0])

    def _keys(self, last: str, n: int) -> list[ContentObject]:
        found: list[ContentObject] = []
        for key in self._walk("", last):
            if len(found) == n:
                break
            with suppress(FileNotFoundError):  # it went meanwhile
                status = os.stat(key, dir_fd=self._root)
                found.append(ContentObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
        return found

    def _walk(self, folder: str, last: str) -> Iterator[str]:
        """Yield the keys below a folder that come after ``last``, in order, reading no folder before it."""
        try:
            fd = os.open(folder or ".", _WAYS | os.O_DIRECTORY, dir_fd=self._root)
        except FileNotFoundError:
            return
        try:
            with closing(os.scandir(fd)) as entries:
                # A folder's keys begin with its name and a slash: that is where it stands in the order.
                names = sorted(e.name + "/" * e.is_dir(follow_symlinks=False) for e in entries)
        finally:
            os.close(fd)
        for name in names:
            key = f"{folder}/{name}" if folder else name
            if key.endswith("/"):
                if key > last or last.startswith(key):
                    yield from self._walk(key[:-1], last)
            elif key > last:
                yield key


def _copy(lent: LentFile, out: int, size: int) -> None:
    at = 0
    while at < size:
        # In the kernel: no byte comes through here.
        count = os.sendfile(out, lent.check(), at, min(_STEP, size - at))
        if not count:
            raise OSError(errno.EIO, f"the file to be put has {at} bytes, not {size}")
        at += count


@asynccontextmanager
async def open_directory(context: ContentContext) -> AsyncGenerator[DirectoryContent]:
    """Open ``file:///path``, which must be there: a directory that is made might hide one to be mounted."""
    parts = urlsplit(context.url)
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or parts.query or context.options:
        raise ConfigError(
            "hosting.content", f"{context.url!r} is no directory's URL", "Write file:///path, without options"
        )
    try:
        root = os.open(path, _WAYS | os.O_DIRECTORY)
    except OSError as error:
        raise ContentRefusedError(
            context.url,
            error.strerror or str(error),
            "Mount it or make it, and let the node's user write there",
        ) from error
    try:
        yield DirectoryContent(context.url, root)
    finally:
        os.close(root)
