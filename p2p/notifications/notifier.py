"""What the front end tells: pushes, mounts and deletes are noted at once, pulls in batches.

A pull must not cost a transaction: many a second are common, and losing the last second's of them in a crash
harms nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from p2p.errors import LocalError
from p2p.notifications.api import What

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.notifications.api import Happening, Queue

log = structlog.get_logger(__name__)

BATCH = 100
SECONDS = 1.0
HELD = 10_000
"""Pulls in memory at most, where the queue can't be written."""


class QueueNotifier:
    """``Notifier`` into a queue. ``lost`` counts what could not be noted."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._pulls: list[Happening] = []
        self._some = trio.Event()
        self._writing = trio.Lock()
        self.lost = 0

    async def tell(self, happenings: Sequence[Happening]) -> None:
        """``Notifier.tell``. What was told before is noted before; an error is a log line and a count."""
        self._pulls += [one for one in happenings if one.what is What.PULL]
        others = [one for one in happenings if one.what is not What.PULL]
        if others or len(self._pulls) >= BATCH:
            await self._write(others)
        elif self._pulls:
            self._some.set()

    async def flush(self) -> None:
        """Note the pulls that wait."""
        await self._write([])

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Note the pulls of each second, until cancelled; those that wait then are noted as well."""
        task_status.started()
        try:
            while True:
                await self._some.wait()
                await trio.sleep(SECONDS)
                self._some = trio.Event()
                await self.flush()
        finally:
            with trio.move_on_after(SECONDS, shield=True):
                await self.flush()

    async def _write(self, others: Sequence[Happening]) -> None:
        async with self._writing:
            pulls, self._pulls = self._pulls, []
            try:
                await self._queue.append([*pulls, *others])
            except LocalError as error:
                self._pulls = [*pulls, *self._pulls][-HELD:]
                self.lost += len(others)
                log.warning("notifications can't be noted", events=len(others), cause=str(error))
