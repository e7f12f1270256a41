"""Brings events from the queue to the sinks: one task each, so that a slow receiver delays no other.

Every event is delivered at least once and in order: a sink's position moves only after it took a batch, and
it is asked again, ever more rarely, until it does or the queue no longer keeps the events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.errors import LocalError, NotificationError
from p2p.notifications.api import SinkStatistics
from p2p.notifications.backoff import Backoff
from p2p.notifications.interest import Interest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from p2p.notifications.api import Event, Queue, Sink

log = structlog.get_logger(__name__)

DRAIN = 5.0


@dataclass(frozen=True, slots=True)
class Route:
    """One sink: its name (under which its position is kept), what it wants to hear, how much at once."""

    name: str
    sink: Sink
    interest: Interest = field(default_factory=Interest)
    batch: int = 50


@dataclass(slots=True)
class _Progress:
    """Of one sink. ``behind``: it has to be told that events are missing."""

    cursor: int = 0
    behind: bool = False
    failures: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: int = 0


class Dispatcher:
    """Runs the sinks. ``rng`` spreads the retries of many nodes."""

    def __init__(
        self,
        queue: Queue,
        routes: Sequence[Route],
        *,
        rng: Random,
        backoff: Backoff | None = None,
        drain: float = DRAIN,
    ) -> None:
        self._queue = queue
        self._routes = tuple(routes)
        self._rng = rng
        self._backoff = backoff or Backoff()
        self._drain = drain
        self._progress = {route.name: _Progress() for route in self._routes}
        self._stopping = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until ``stop``, or cancellation. LocalError where the queue can't be read at the start."""
        for route in self._routes:
            now = self._progress[route.name]
            now.cursor, now.behind = await self._queue.begin(route.name)
        async with trio.open_nursery() as nursery:
            for route in self._routes:
                nursery.start_soon(self._serve, route)
            task_status.started()
            await self._stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + self._drain

    def stop(self) -> None:
        """Let ``run`` end: what is queued is tried once more, for ``drain`` seconds at most."""
        self._stopping.set()

    def statistics(self) -> Mapping[str, SinkStatistics]:
        """Give the figures of each sink by its name."""
        return {
            name: SinkStatistics(
                queued=max(0, self._queue.last - now.cursor),
                delivered=now.delivered,
                failed=now.failed,
                dropped=now.dropped,
            )
            for name, now in self._progress.items()
        }

    async def _serve(self, route: Route) -> None:
        now = self._progress[route.name]
        while True:
            if not now.behind and self._queue.last <= now.cursor:
                if self._stopping.is_set():
                    return
                await self._news(now.cursor)
                continue
            try:
                await self._step(route, now)
            except Exception as error:
                # Sinks are other people's code: none may take the node, or another sink, with it.
                if not isinstance(error, NotificationError | LocalError):
                    log.exception("sink raised what it must not", sink=route.name)
                now.failures += 1
                now.failed += 1
                if self._stopping.is_set():
                    return
                await self._pause(route, now, error)
            else:
                now.failures = 0

    async def _step(self, route: Route, now: _Progress) -> None:
        # What was appended before the read and is not in it has gone: the numbers have no other gaps.
        last = self._queue.last
        events = await self._queue.read(now.cursor, route.batch)
        reached = events[-1].number if events else max(last, now.cursor)
        gone = reached - now.cursor - len(events)
        if gone:
            now.dropped += gone
            now.behind = True
            now.cursor = events[0].number - 1 if events else reached
            log.warning("notifications are lost: the queue kept them no longer", sink=route.name, events=gone)
        if now.behind:
            await route.sink.missed()
            now.behind = False
        await self._deliver(route, now, events)
        await self._queue.confirm(route.name, reached)
        now.cursor = reached

    async def _deliver(self, route: Route, now: _Progress, events: Sequence[Event]) -> None:
        wanted = route.interest.select(events)
        if wanted:
            await route.sink.send(wanted)
            now.delivered += len(wanted)

    async def _news(self, cursor: int) -> None:
        """Wait for an event or for the stop."""
        async with trio.open_nursery() as nursery:

            async def stopped() -> None:
                await self._stopping.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stopped)
            await self._queue.wait(cursor)
            nursery.cancel_scope.cancel()

    async def _pause(self, route: Route, now: _Progress, error: Exception) -> None:
        wish = error.retry_after if isinstance(error, NotificationError) else 0.0
        delay = self._backoff.delay(now.failures, self._rng, wish=wish)
        if now.failures == 1:
            log.warning(
                "sink does not take events", sink=route.name, cause=str(error), again_in=round(delay, 1)
            )
        with trio.move_on_after(delay):
            await self._stopping.wait()
