"""Reused receive buffers within a budget: freshly touched memory is slow, and memory must be bounded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEPT_SECONDS = 5.0
"""Free buffers are let go when nothing was taken for so long, so that an idle node is small."""

SMALLEST = 1 << 16


class BufferPool:
    """At most ``budget`` bytes, ``lent`` and ``kept`` together, but always at least one buffer.

    Whoever asks first is served first, however large his buffer.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lent = 0
        self.kept = 0
        self._free: dict[int, list[bytearray]] = {}
        self._turn = trio.Lock()
        self._returned = trio.Event()
        self._used_at = 0.0

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[memoryview]:
        """Lend a buffer of ``size`` bytes (contents undefined); waits for room in the budget."""
        rounded = max(SMALLEST, 1 << (size - 1).bit_length()) if size else SMALLEST
        async with self._turn:
            while self.lent and self.lent + rounded > self.budget:
                await self._returned.wait()
            buffer = self._allocate(rounded)
        try:
            with memoryview(buffer) as view, view[:size] as part:
                yield part
        finally:
            self.lent -= rounded
            self._free.setdefault(rounded, []).append(buffer)
            self.kept += rounded
            self._trim()
            self._returned.set()
            self._returned = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let free buffers go when idle."""
        task_status.started()
        while True:
            await trio.sleep(KEPT_SECONDS)
            if not self.lent and trio.current_time() - self._used_at >= KEPT_SECONDS:
                self._free.clear()
                self.kept = 0

    def _allocate(self, rounded: int) -> bytearray:
        self._used_at = trio.current_time()
        free = self._free.get(rounded)
        if free:
            buffer = free.pop()
            self.kept -= rounded
            self.lent += rounded
            return buffer
        self._trim(rounded)
        buffer = bytearray(rounded)
        self.lent += rounded
        return buffer

    def _trim(self, more: int = 0) -> None:
        """Let free buffers go, whatever their size, until ``more`` bytes fit into the budget."""
        for size, free in self._free.items():
            while free and self.lent + self.kept + more > self.budget:
                free.pop()
                self.kept -= size
