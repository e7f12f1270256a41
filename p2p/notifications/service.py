"""All of the notifications as one part of a node: queue, notifier, dispatcher, configured sinks."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import trio

from p2p import extensions
from p2p.notifications.backoff import Backoff
from p2p.notifications.dispatcher import Dispatcher, Route
from p2p.notifications.interest import Interest
from p2p.notifications.notifier import QueueNotifier
from p2p.notifications.queue import open_queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from random import Random

    from p2p.config import NotificationSettings
    from p2p.notifications.api import OpenSink, Queue, Sink, SinkStatistics


class Notifications:
    """Give ``notifier`` to whoever has something to tell, and run ``run``; ``stop`` ends it well."""

    def __init__(self, queue: Queue, dispatcher: Dispatcher) -> None:
        self.notifier = QueueNotifier(queue)
        self._dispatcher = dispatcher

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Note and deliver until ``stop`` or cancellation."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.notifier.run)
            await nursery.start(self._deliver, nursery.cancel_scope)
            task_status.started()

    async def stop(self) -> None:
        """Note what waits, and let ``run`` end after one more try of what is queued."""
        await self.notifier.flush()
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
        queue = await stack.enter_async_context(
            open_queue(
                state,
                max_events=settings.max_events,
                max_age=timedelta(seconds=settings.max_age),
                clock=lambda: datetime.now(UTC),
            )
        )
        backoff = Backoff(settings.backoff, settings.backoff_limit)
        yield Notifications(queue, Dispatcher(queue, routes, rng=rng, backoff=backoff))
