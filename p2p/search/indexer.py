"""Keeps the index in step with what is hosted: by notifications, and by the changes that metadata remember.

A node with a database of its own hears of every change by an event; where it missed some it follows the
changes. Where others write to the database too, an event only says that it is time to look: an index by
events could end where another front end's change was overtaken by an older event of our own.

Following changes and hearing of events go on side by side. Both hold the lock from reading the catalog to
writing the index, so that what one wrote is never older than what the other had read; and as every later
change has its event, or its place among the changes, the index ends where the catalog is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.manifest import MANIFEST_TYPES
from p2p.errors import LocalError, RemoraError
from p2p.notifications.api import What
from p2p.search.documents import read_document
from p2p.search.index import Put, Remove, Untag
from p2p.search.sync import PAGE, Budget, synchronize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Changed
    from p2p.notifications.api import Event
    from p2p.search.api import Catalog
    from p2p.search.index import Change, Index

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 3.0
"""Between two looks at a database that others write to."""
REST: Final = 4
"""Times as long as the last round took is waited at least: following takes a fifth of the time at most."""
LONGEST_REST: Final = 60.0
OVERLAP: Final = 60_000_000
"""Microseconds: what changed so long before the last change is looked at again, as it may have come late."""
FAILURES: Final = 3
"""Manifests of one round that can't be read, until the others are put off."""
RETRY_SECONDS: Final = 30.0
LONGEST_RETRY: Final = 3600.0


class Indexer:
    """The ``Sink`` of search, and its task. ``shared``: others write to the database of the catalog too."""

    def __init__(self, index: Index, catalog: Catalog, *, shared: bool = False) -> None:
        self._index = index
        self._progress = index.progress
        self._catalog = catalog
        self._shared = shared
        self._lock = trio.Lock()
        self._wanted = trio.Event()
        self._begun = False
        self._missed = 0
        self._synced: OrderedDict[Repository, int] = OrderedDict()
        self._retry_at = 0.0
        self._retry_pause = RETRY_SECONDS

    async def send(self, events: Sequence[Event]) -> None:
        """``Sink.send``. LocalError where the catalog or the index can't be read: the events come again."""
        if self._shared:
            self._wanted.set()
            return
        async with self._lock:
            changes: list[Change] = []
            for event in events:
                changes += await self._changes(event)
            await self._index.apply(changes)

    async def missed(self) -> None:
        """``Sink.missed``: follow what changed since."""
        self._missed += 1
        await self._progress.mark(complete=False)
        self._wanted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the changes where events don't tell of all, and try again what could not be read."""
        task_status.started()
        while True:
            begun = trio.current_time()
            self._wanted = trio.Event()
            try:
                await self._round()
                most = await self._idle()
            except RemoraError as error:
                log.warning("search index can't be built", cause=str(error), again_in=RETRY_SECONDS)
                await trio.sleep(RETRY_SECONDS)
                continue
            least = min(LONGEST_REST, REST * (trio.current_time() - begun))
            await trio.sleep(least)
            with trio.move_on_after(max(0.0, most - least)):
                await self._wanted.wait()

    async def follow(self) -> None:
        """Bring every repository to what the catalog says that changed since the last time, or ever."""
        await self._begin()
        missed, complete, budget = self._missed, await self._progress.is_complete(), Budget(FAILURES)
        reached = await self._progress.position()
        after, count = (max(0, reached[0] - OVERLAP), ""), 0
        while page := await self._catalog.changes(PAGE, after):
            for change in page:
                if self._synced.get(change.repository) != change.at:
                    if not await self._synchronize(change.repository, budget):
                        self._retry_soon()
                    self._remember(change)
                    count += 1
            after = (page[-1].at, page[-1].repository.path)
            if after > reached:
                await self._progress.advance(after)
                reached = after
        if not complete and missed == self._missed:
            await self._progress.mark(complete=True)
            log.info("search index built", repositories=count)

    async def _begin(self) -> None:
        if not self._begun:
            await self._progress.begin(await self._catalog.name())
            self._begun = True

    async def _round(self) -> None:
        await self._begin()
        if self._shared or not await self._progress.is_complete():
            await self.follow()
        if trio.current_time() >= self._retry_at:
            await self._retry()

    async def _idle(self) -> float:
        """How long nothing need be done, unless events say so."""
        most = POLL_SECONDS if self._shared else math.inf
        if await self._progress.waiting(1):
            most = min(most, max(0.0, self._retry_at - trio.current_time()))
        return most

    async def _retry(self) -> None:
        """Try those again of which something could not be read; ever more rarely where that is in vain."""
        waiting = await self._progress.waiting(PAGE)
        if not waiting:
            return
        budget, better = Budget(FAILURES), False
        for repository in waiting:
            better |= await self._synchronize(repository, budget)
            if budget.failures <= 0:
                break
        self._retry_pause = RETRY_SECONDS if better else min(LONGEST_RETRY, 2 * self._retry_pause)
        self._retry_at = trio.current_time() + (0.0 if better else self._retry_pause)

    async def _synchronize(self, repository: Repository, budget: Budget) -> bool:
        async with self._lock:
            whole = await synchronize(self._index, self._catalog, repository, budget)
        if whole:
            await self._progress.done(repository)
        else:
            await self._progress.put_off(repository)
        return whole

    def _retry_soon(self) -> None:
        self._retry_pause = RETRY_SECONDS
        self._retry_at = trio.current_time() + RETRY_SECONDS

    def _remember(self, change: Changed) -> None:
        """Keep what the next round would look at again."""
        self._synced[change.repository] = change.at
        self._synced.move_to_end(change.repository)
        while next(iter(self._synced.values())) < change.at - OVERLAP:
            self._synced.popitem(last=False)

    async def _changes(self, event: Event) -> list[Change]:
        happening = event.happening
        repository, target = happening.repository, happening.target
        if happening.what is What.DELETE:
            if target is None:
                return [Untag(repository, tag) for tag in happening.tags]
            return [Remove(repository, str(target.digest))]
        if happening.what is What.PUSH and target is not None and target.media_type in MANIFEST_TYPES:
            try:
                document = await read_document(self._catalog, repository, target)
            except LocalError:
                raise
            except RemoraError as error:
                log.info("not indexed yet", repository=str(repository), cause=str(error))
                await self._progress.put_off(repository)
                self._retry_soon()
                self._wanted.set()
                return []
            # A tag has moved even where it moved to what is deleted by now: the delete names that only.
            if document is None:
                return [Untag(repository, tag) for tag in happening.tags]
            return [Put(document, happening.tags)]
        return []
