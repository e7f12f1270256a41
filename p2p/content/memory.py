"""Shared content in memory: the twin for tests, shared by the front ends of one process."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from p2p.content.api import ContentObject
from p2p.errors import ContentMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.errors import ContentError


class MemoryContent:
    """``SharedContent`` in a dictionary. While ``failure`` is set all verbs raise it; ``calls`` counts."""

    def __init__(
        self, name: str = "memory://content", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = name
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.failure: ContentError | None = None
        self.calls: Counter[str] = Counter()
        self._now = now

    async def put(self, key: str, fd: int, size: int) -> None:
        """See ``SharedContent``."""
        await self._called("put")
        self.objects[key] = os.pread(fd, size, 0), self._now()

    @asynccontextmanager
    async def open(self, key: str, offset: int = 0, stop: int | None = None) -> AsyncGenerator[MemoryBody]:
        """See ``SharedContent``."""
        await self._called("open")
        if key not in self.objects:
            raise ContentMissingError(self.name, f"it has no object {key}")
        yield MemoryBody(self.objects[key][0], offset, stop)

    async def remove(self, key: str) -> None:
        """See ``SharedContent``."""
        await self._called("remove")
        self.objects.pop(key, None)

    async def keys(self, last: str = "", n: int = 1000) -> Sequence[ContentObject]:
        """See ``SharedContent``."""
        await self._called("keys")
        found = sorted(key for key in self.objects if key > last)[:n]
        return [ContentObject(key, len(self.objects[key][0]), self.objects[key][1]) for key in found]

    async def _called(self, verb: str) -> None:
        await trio.lowlevel.checkpoint()
        self.calls[verb] += 1
        if self.failure is not None:
            raise self.failure


class MemoryBody:
    """A ``ContentBody`` over bytes."""

    media_type = "application/octet-stream"

    def __init__(self, data: bytes, offset: int, stop: int | None) -> None:
        self.size = len(data)
        self.offset = offset
        self._left = data[offset:stop]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield parts until the end."""
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        buffer = memoryview(bytearray(1 << 16))
        while count := await self.read_into(buffer):
            yield bytes(buffer[:count])

    async def read_into(self, view: memoryview) -> int:
        """See ``ContentBody``."""
        await trio.lowlevel.checkpoint()
        part = self._left[: len(view)]
        view[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)
