"""Reused receive buffers within a budget: freshly touched memory is slow, and memory must be bounded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEPT_SECONDS = 5.0
"""Free buffers are let go when nothing was taken for so long, so that an idle node is small."""


class BufferPool:
    """At most ``budget`` bytes lent at once, but always at least one buffer, however large."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lent = 0
        self._free: dict[int, list[bytearray]] = {}
        self._returned = trio.Event()
        self._used_at = 0.0

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[memoryview]:
        """Lend a buffer of ``size`` bytes (contents undefined); waits for room in the budget."""
        rounded = max(1 << 16, 1 << (size - 1).bit_length()) if size else 1 << 16
        while self.lent and self.lent + rounded > self.budget:
            await self._returned.wait()
        self.lent += rounded
        self._used_at = trio.current_time()
        kept = self._free.get(rounded)
        buffer = kept.pop() if kept else bytearray(rounded)
        try:
            with memoryview(buffer) as view, view[:size] as part:
                yield part
        finally:
            self.lent -= rounded
            self._free.setdefault(rounded, []).append(buffer)
            self._returned.set()
            self._returned = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let free buffers go when idle."""
        task_status.started()
        while True:
            await trio.sleep(KEPT_SECONDS)
            if not self.lent and trio.current_time() - self._used_at >= KEPT_SECONDS:
                self._free.clear()
