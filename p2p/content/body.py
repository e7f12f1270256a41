"""A body that comes from calls that block: each read is one hop to a thread, however many bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import trio

from p2p.errors import ContentError

if TYPE_CHECKING:
    from trio import CapacityLimiter

PART: Final = 1 << 20
"""Bytes of a part where the body is iterated over."""


class ThreadBody:
    """A ``ContentBody``. ``fill`` blocks: it fills a view and gives how many bytes, 0 at the end.

    ``stop`` is where the bytes end: what stops before raises ContentError, and so does what ``mapped`` makes
    of an exception of ``fill``.
    """

    media_type = "application/octet-stream"

    def __init__(
        self,
        name: str,
        fill: Callable[[memoryview], int],
        *,
        size: int,
        offset: int,
        stop: int,
        limiter: CapacityLimiter,
        mapped: Callable[[Exception], ContentError],
    ) -> None:
        self.size = size
        self.offset = offset
        self._name = name
        self._fill = fill
        self._left = stop - offset
        self._limiter = limiter
        self._mapped = mapped

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield parts until the end."""
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        buffer = memoryview(bytearray(min(PART, max(1, self._left))))
        while count := await self.read_into(buffer):
            yield bytes(buffer[:count])

    async def read_into(self, view: memoryview) -> int:
        """See ``ContentBody``."""
        wanted = view[: min(len(view), self._left)]
        if not wanted:
            await trio.lowlevel.checkpoint()
            return 0
        try:
            # Not abandoned: the view is lent, and somebody else's as soon as this has ended.
            count = await trio.to_thread.run_sync(self._filled, wanted, limiter=self._limiter)
        except ContentError:
            raise
        except Exception as error:  # the store's client, other people's code: ContentError whatever it is
            raise self._mapped(error) from error
        self._left -= count
        if count < len(wanted):
            raise ContentError(self._name, f"an object ended {self._left} bytes before its end")
        return count

    def _filled(self, view: memoryview) -> int:
        at = 0
        while at < len(view):
            count = self._fill(view[at:])
            if not count:
                break
            at += count
        return at
