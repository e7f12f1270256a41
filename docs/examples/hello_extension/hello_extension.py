"""A front-end extension: ``GET /v2/_example/pushes/count/<repository>`` tells how often it was pushed to.

It hears of pushes as a consumer of notifications. The count begins anew with the node.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.error import RegistryError
from p2p.notifications.api import What
from p2p.registry.extension import About
from p2p.registry.replies import json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2p.core.oci.route import ExtensionRoute
    from p2p.net.message import Request, Response
    from p2p.notifications.api import Event
    from p2p.registry.extension import ExtensionContext, MayPull


class PushCounter:
    """``Sink`` that counts pushes by repository."""

    def __init__(self) -> None:
        self.pushes: Counter[str] = Counter()

    async def send(self, events: Sequence[Event]) -> None:
        """Count. An event may come twice: what must be exact would remember its ``number``."""
        self.pushes.update(
            event.happening.repository.path for event in events if event.happening.what is What.PUSH
        )

    async def missed(self) -> None:
        """Nothing to be made good: the count is of what was heard."""


class Hello:
    """``Extension`` that answers with the count."""

    def __init__(self) -> None:
        self._counter = PushCounter()

    @property
    def about(self) -> About:
        """What ``/v2/_oci/ext/discover`` says."""
        return About(
            name="_example",
            component="pushes",
            description="How often a repository was pushed to",
            url="https://example.com/remora-hello-extension",
            endpoints=("_example/pushes/count",),
        )

    @property
    def consumer(self) -> PushCounter:
        """Hears of everything that happens."""
        return self._counter

    async def answer(self, request: Request, route: ExtensionRoute, may_pull: MayPull) -> Response:
        """Answer one request; what the client may not pull does not exist for it."""
        if route.module != "count" or request.method != "GET" or not may_pull(route.rest):
            raise RegistryError("NAME_UNKNOWN", "there is no such count")
        return json_response(200, {"repository": route.rest, "pushes": self._counter.pushes[route.rest]})

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing to do beside requests."""
        task_status.started()


@asynccontextmanager
async def open_hello(context: ExtensionContext) -> AsyncIterator[Hello]:
    """Make the extension: the entry point ``hello`` of ``remora.extensions``."""
    del context
    yield Hello()
