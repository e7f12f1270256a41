"""Reused receive buffers within a budget: freshly touched memory is slow, and memory must be bounded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm.fair_queue import FairQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

KEPT_SECONDS = 5.0
"""Free buffers are let go when nothing was taken for so long, so that an idle node is small."""

SMALLEST = 1 << 16


class _Waiter:
    __slots__ = ("awake",)

    def __init__(self) -> None:
        self.awake = trio.Event()


class BufferPool:
    """At most ``budget`` bytes, ``lent`` and ``kept`` together, but always at least one buffer.

    Whoever asks first is served first, however large his buffer; under different keys all get the same share.
    So an image of many layers, which asks for all that it can get, leaves room for one of a single layer.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lent = 0
        self.kept = 0
        self._free: dict[int, list[bytearray]] = {}
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._used_at = 0.0

    def free(self, size: int) -> bool:
        """Whether nobody would have to wait for a buffer of ``size`` bytes."""
        return not self._queue and self._fits(_rounded(size))

    @asynccontextmanager
    async def take(self, size: int, key: Hashable = None) -> AsyncIterator[memoryview]:
        """Lend a buffer of ``size`` bytes (contents undefined); waits for room in the budget."""
        rounded = _rounded(size)
        if self.free(size):
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._wait(key, rounded)
        buffer = self._allocate(rounded)
        try:
            with memoryview(buffer) as view, view[:size] as part:
                yield part
        finally:
            self.lent -= rounded
            self._free.setdefault(rounded, []).append(buffer)
            self.kept += rounded
            self._trim()
            self._wake()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let free buffers go when idle."""
        task_status.started()
        while True:
            await trio.sleep(KEPT_SECONDS)
            if not self.lent and trio.current_time() - self._used_at >= KEPT_SECONDS:
                self._free.clear()
                self.kept = 0

    async def _wait(self, key: Hashable, rounded: int) -> None:
        waiter, served = _Waiter(), False
        self._queue.enter(key, rounded, waiter)
        try:
            while self._queue.first() is not waiter or not self._fits(rounded):
                waiter.awake = trio.Event()
                await waiter.awake.wait()
            served = True
        finally:
            self._queue.leave(waiter, served=served)
            self._wake()

    def _wake(self) -> None:
        """Have the one whose turn it is look whether there is room."""
        first = self._queue.first()
        if first is not None:
            first.awake.set()

    def _fits(self, rounded: int) -> bool:
        return not self.lent or self.lent + rounded <= self.budget

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


def _rounded(size: int) -> int:
    return max(SMALLEST, 1 << (size - 1).bit_length()) if size else SMALLEST
