"""What waits to be sent on one connection: bounded, so that a slow reader costs itself and nobody else."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMIT = 4 << 20
"""Bytes waiting for one connection."""

AT_ONCE = 256 << 10
"""Bytes that are sent together; what is longer goes alone."""


class Outbox:
    """Frames in order. ``put`` never blocks; beyond ``limit`` bytes the connection is given up.

    ``cut`` is called once when that happens; it must end the connection without sending more.
    """

    def __init__(self, cut: Callable[[], None], limit: int = LIMIT) -> None:
        self._cut = cut
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._wake = trio.Event()
        self.closed = False
        self.overflowed = False
        self.reason = ""

    def put(self, data: bytes) -> None:
        """Queue a frame; a no-op when closed."""
        if self.closed:
            return
        if self._bytes + len(data) > self._limit:
            self.closed = self.overflowed = True
            self.reason = f"reads too slowly: {self._bytes} bytes waited to be sent"
            self._cut()
            return
        self._queue.append(data)
        self._bytes += len(data)
        self._wake.set()

    def close(self, reason: str) -> None:
        """Take no more; ``drain`` returns when what is queued has been sent."""
        if not self.closed:
            self.closed = True
            self.reason = reason
        self._wake.set()

    async def drain(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send what is queued, many frames at a time, until closed and empty; raises what ``send`` raises."""
        while True:
            while self._queue:
                parts = [self._queue.popleft()]
                size = len(parts[0])
                while self._queue and size + len(self._queue[0]) <= AT_ONCE:
                    parts.append(self._queue.popleft())
                    size += len(parts[-1])
                try:
                    await send(b"".join(parts))
                finally:
                    self._bytes -= size
            if self.closed:
                return
            self._wake = trio.Event()
            await self._wake.wait()
