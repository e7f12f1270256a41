"""Keeps the index in step with what is hosted: by notifications, and from the catalog where it missed some.

Building anew and hearing of changes go on side by side. Both hold the lock from reading the catalog to
writing the index, so that what one wrote is never older than what the other had read; and as every later
change has its event, the index ends where the catalog is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.manifest import MANIFEST_TYPES
from p2p.errors import RemoraError
from p2p.notifications.api import What
from p2p.search.documents import CONFIG_BYTES, config_of, describe, read_manifest
from p2p.search.index import Put, Remove, Untag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.manifest import Manifest
    from p2p.core.oci.reference import Repository
    from p2p.notifications.api import Event
    from p2p.search.api import Catalog
    from p2p.search.index import Change, Index

log = structlog.get_logger(__name__)

MANIFEST_BYTES: Final = 32 << 20
PAGE: Final = 100
DEPTH: Final = 8
"""How far from a tag a manifest is looked for: indexes in indexes, referrers of referrers."""
RETRY_SECONDS: Final = 30.0


class Indexer:
    """The ``Sink`` of search, and its task."""

    def __init__(self, index: Index, catalog: Catalog) -> None:
        self._index = index
        self._catalog = catalog
        self._lock = trio.Lock()
        self._wanted = trio.Event()

    async def send(self, events: Sequence[Event]) -> None:
        """``Sink.send``. RemoraError where the catalog or the index can't be read: the events come again."""
        async with self._lock:
            changes: list[Change] = []
            for event in events:
                changes += await self._changes(event)
            await self._index.apply(changes)

    async def missed(self) -> None:
        """``Sink.missed``: build anew."""
        await self._index.mark(complete=False)
        self._wanted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Build the index where it is not complete, now and whenever events were missed."""
        task_status.started()
        while True:
            try:
                if not await self._index.is_complete():
                    await self.rebuild()
            except RemoraError as error:
                log.warning("search index can't be built", cause=str(error), again_in=RETRY_SECONDS)
                await trio.sleep(RETRY_SECONDS)
                continue
            await self._wanted.wait()

    async def rebuild(self) -> None:
        """Forget the index and read the whole catalog."""
        self._wanted = trio.Event()
        async with self._lock:
            await self._index.clear()
        last, count = "", 0
        while page := await self._catalog.repositories(PAGE, last):
            for repository in page:
                await self._rebuild_repository(repository)
            count += len(page)
            last = page[-1].path
        if not self._wanted.is_set():
            await self._index.mark(complete=True)
        log.info("search index built", repositories=count)

    async def _rebuild_repository(self, repository: Repository) -> None:
        last, seen = "", set[str]()
        while True:
            async with self._lock:
                page = await self._catalog.tags(repository, PAGE, last)
                changes: list[Change] = []
                for tag, target in page:
                    changes += await self._family(repository, target, seen, DEPTH)
                    if (put := await self._put(repository, target, (tag,))) is not None:
                        changes.append(put)
                await self._index.apply(changes)
            if not page:
                return
            last = page[-1][0]

    async def _family(
        self, repository: Repository, target: Descriptor, seen: set[str], depth: int
    ) -> list[Change]:
        """Read what a manifest lists and what refers to it, with itself at the end, each once."""
        if str(target.digest) in seen or depth == 0:
            return []
        seen.add(str(target.digest))
        manifest = await self._manifest(repository, target)
        if manifest is None:
            return []
        changes: list[Change] = []
        for child in manifest.manifests:
            changes += await self._family(repository, child, seen, depth - 1)
        last = ""
        while page := await self._catalog.referrers(repository, target.digest, PAGE, last):
            for referrer in page:
                changes += await self._family(repository, referrer, seen, depth - 1)
            last = str(page[-1].digest)
        changes.append(await self._described(repository, target, manifest, ()))
        return changes

    async def _changes(self, event: Event) -> list[Change]:
        happening = event.happening
        repository, target = happening.repository, happening.target
        if happening.what is What.DELETE:
            if target is None:
                return [Untag(repository, tag) for tag in happening.tags]
            return [Remove(repository, str(target.digest))]
        if happening.what is What.PUSH and target is not None and target.media_type in MANIFEST_TYPES:
            put = await self._put(repository, target, happening.tags)
            # A tag has moved even where it moved to what is deleted by now: the delete names that only.
            return [Untag(repository, tag) for tag in happening.tags] if put is None else [put]
        return []

    async def _put(self, repository: Repository, target: Descriptor, tags: tuple[str, ...]) -> Put | None:
        # None: it is deleted by now, which is a later event, or it is none that we read.
        manifest = await self._manifest(repository, target)
        return None if manifest is None else await self._described(repository, target, manifest, tags)

    async def _manifest(self, repository: Repository, target: Descriptor) -> Manifest | None:
        data = await self._catalog.read(repository, target.digest, MANIFEST_BYTES)
        return None if data is None else read_manifest(data, target.media_type)

    async def _described(
        self, repository: Repository, target: Descriptor, manifest: Manifest, tags: tuple[str, ...]
    ) -> Put:
        config = config_of(manifest)
        data = None
        if config is not None:
            data = await self._catalog.read(repository, config.digest, CONFIG_BYTES)
        return Put(describe(repository, target, manifest, data), tags)
