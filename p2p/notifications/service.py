"""All of the notifications as one part of a node: queue, notifier, dispatcher, configured sinks."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict, cast

import trio

from p2p import extensions
from p2p.notifications.api import Silence
from p2p.notifications.backoff import Backoff
from p2p.notifications.dispatcher import Dispatcher, Route
from p2p.notifications.interest import Interest
from p2p.notifications.memory import MemoryQueue
from p2p.notifications.notifier import QueueNotifier
from p2p.notifications.queue import open_queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path
    from random import Random

    from p2p.config import NotificationSettings
    from p2p.notifications.api import Notifier, OpenSink, Queue, Sink, SinkStatistics


class _Bounds(TypedDict):
    max_events: int
    max_age: timedelta
    clock: Callable[[], datetime]


class Notifications:
    """Give ``notifier`` to whoever has something to tell, and run ``run``; ``stop`` ends it well.

    ``queue`` None: there is nobody to tell, and nothing is noted.
    """

    def __init__(self, queue: Queue | None, dispatcher: Dispatcher) -> None:
        self._noting = None if queue is None else QueueNotifier(queue)
        self._dispatcher = dispatcher

    @property
    def notifier(self) -> Notifier:
        """Takes what happened."""
        return self._noting or Silence()

    @property
    def lost(self) -> int:
        """Happenings that could not be noted."""
        return 0 if self._noting is None else self._noting.lost

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Note and deliver until ``stop`` or cancellation."""
        async with trio.open_nursery() as nursery:
            if self._noting is not None:
                await nursery.start(self._noting.run)
            await nursery.start(self._deliver, nursery.cancel_scope)
            task_status.started()

    async def stop(self) -> None:
        """Note what waits, and let ``run`` end after one more try of what is queued."""
        if self._noting is not None:
            await self._noting.flush()
        self._dispatcher.stop()

    def statistics(self) -> Mapping[str, SinkStatistics]:
        """Give the figures of each sink by its name."""
        return self._dispatcher.statistics()

    async def _deliver(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        await self._dispatcher.run(task_status=task_status)
        scope.cancel()


@asynccontextmanager
async def open_notifications(
    settings: NotificationSettings,
    *,
    state: Path,
    node: str,
    rng: Random,
    consumers: Mapping[str, Sink] | None = None,
) -> AsyncIterator[Notifications]:
    """Open the queue in ``state`` and every configured sink.

    ``consumers`` are sinks of the node's own (extensions), which hear everything. ConfigError for a sink
    that there is not or whose settings don't do, LocalError for the queue's file.
    """
    async with AsyncExitStack() as stack:
        routes = [Route(f"extension:{name}", sink) for name, sink in (consumers or {}).items()]
        for name, sink in settings.sinks.items():
            opener = cast("OpenSink", extensions.load(extensions.SINKS, sink.kind))
            opened = await stack.enter_async_context(opener(name, sink, node))
            routes.append(Route(name, opened, Interest.of(name, sink), sink.batch))
        bounds = _Bounds(
            max_events=settings.max_events,
            max_age=timedelta(seconds=settings.max_age),
            clock=lambda: datetime.now(UTC),
        )
        backoff = Backoff(settings.backoff, settings.backoff_limit)
        if routes:
            queue = await stack.enter_async_context(open_queue(state, **bounds))
            yield Notifications(queue, Dispatcher(queue, routes, rng=rng, backoff=backoff))
        else:
            yield Notifications(None, Dispatcher(MemoryQueue(**bounds), (), rng=rng, backoff=backoff))
