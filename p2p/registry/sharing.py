"""Blobs of hosted repositories in the content that all front ends of one database share.

Every put has a key of its own, which the blob's row remembers. So a front end that deletes can only hit the
object that it has claimed, however late it comes: what was pushed again meanwhile lies elsewhere. A put is
noted in the database before it begins and counts when its key becomes a row's place; what is noted and never
came to count, and what no row knows, is an orphan and goes when it is old enough.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from p2p.core.oci.error import RegistryError
from p2p.errors import ContentError, ContentMissingError, ContentRefusedError, LocalError, RemoraError
from p2p.metadata.hosting import Place, PlaceRecords, PutRecords

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from p2p.content.api import SharedContent
    from p2p.core.oci.digest import Digest
    from p2p.metadata.hosting import Placed
    from p2p.registry.api import OpenContent
    from p2p.store.api import StoredBlob

log = structlog.get_logger(__name__)

LEAST_AGE: Final = timedelta(hours=1)
"""Younger than that nothing is an orphan, whatever the settings say."""
DAY: Final = 86400.0
OWNER: Final = "owner/"
"""Below it lies an empty object with the name of the database whose content this is."""
_PAGE: Final = 1000
_END: Final = datetime.max.replace(tzinfo=UTC)


class SharingRecords(PlaceRecords, PutRecords, Protocol):
    """What is needed of metadata."""


@dataclass(slots=True)
class SharingStatistics:
    """Since the start: orphans that were removed, with their bytes; blobs that were moved there from here.

    ``missing``: blobs without their object, when that was last looked at.
    """

    orphans: int = 0
    orphan_bytes: int = 0
    moved: int = 0
    missing: int = 0


class Sharing:
    """One front end's way to the shared content. ``grace`` in seconds: no younger object is an orphan."""

    def __init__(
        self,
        content: SharedContent,
        *,
        records: SharingRecords,
        store: OpenContent,
        grace: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.statistics = SharingStatistics()
        self._content = content
        self._records = records
        self._store = store
        self._safe = max(timedelta(seconds=grace), LEAST_AGE)
        self._now = now
        self._checked = False

    async def check(self) -> None:
        """Make sure that the content is this database's: what is another's would be taken for orphans.

        ContentRefusedError where it is not, or where it is empty and must not be. ContentError.
        """
        if self._checked:
            return
        marker = OWNER + await self._records.content_owner()
        found = await self._owners()
        if not found and await self._records.any_placed():
            raise ContentRefusedError(
                self._content.name,
                "the database says that blobs lie there, and it is empty",
                "Mount it, or mend hosting.content; if it is lost, restore it first",
            )
        if not found:
            fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            try:
                await self._content.put(marker, fd, 0)
            finally:
                os.close(fd)
            found = await self._owners()
        if found != [marker]:
            raise ContentRefusedError(
                self._content.name,
                f"it is the content of another database: its marker is {found[0] if found else 'gone'}",
                f"Give each database a bucket, prefix or directory of its own; this one's marker is {marker}",
            )
        self._checked = True

    async def _owners(self) -> list[str]:
        return [one.key for one in await self._content.keys(OWNER, 2) if one.key.startswith(OWNER)]

    # ── one blob ───────────────────────────────────────────────────────────────────────────────────

    async def holds(self, digest: Digest) -> bool:
        """Whether an owned blob lies there."""
        return bool(await self._records.place(digest))

    async def place(self, blob: StoredBlob) -> Place:
        """Give where a blob of the store lies: where it lies already, else where it is put now.

        Durable when this returns; ``settle`` follows when its row was written, or was refused.
        """
        known = await self._records.place(blob.digest)
        return Place(known, new=False) if known else await self._put(blob)

    async def settle(self, digest: Digest, place: Place) -> None:
        """Remove what was put and did not become the place of the blob."""
        if not place.new or await self._records.place(digest) == place.key:
            return
        try:
            for key in await self._records.doomed([place.key], _END):
                await self._content.remove(key)
        except ContentError as error:
            log.info("an object that nobody needs is left for later", key=place.key, cause=str(error))

    async def remove(self, key: str) -> None:
        """Delete an object. ContentError."""
        await self.check()
        await self._content.remove(key)

    async def _put(self, blob: StoredBlob) -> Place:
        await self.check()
        digest = blob.digest
        key = f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.{secrets.token_hex(12)}"
        await self._records.intend(key, self._now())
        try:
            with self._store.open(digest) as fd:
                await self._content.put(key, fd, blob.size)
        except KeyError:
            raise RegistryError(
                "UNAVAILABLE",
                f"{digest} was lost as it came in",
                status=503,
                mend="Push it again; the log says what was wrong with it",
            ) from None
        return Place(key)

    # ── all of it ──────────────────────────────────────────────────────────────────────────────────

    async def run(
        self,
        *,
        collects: Callable[[], Awaitable[bool]],
        alone: Callable[[Digest], AbstractAsyncContextManager[None]],
        kept: Callable[[Digest], bool],
        again: float,
    ) -> None:
        """Move what lies only here, and remove orphans if this front end ``collects``: now and every day.

        ``again``: seconds until the next try where that failed.
        """
        while True:
            pause = again
            try:
                await self.move(alone=alone, kept=kept)
                if await collects():
                    await self.reconcile()
                pause = DAY
            except RemoraError as error:
                log.warning("shared content not put in order", cause=str(error))
            await trio.sleep(pause)

    async def move(
        self, *, alone: Callable[[Digest], AbstractAsyncContextManager[None]], kept: Callable[[Digest], bool]
    ) -> int:
        """Put there what is owned, lies here, and has no place yet; gives how many. It needs no pin any more.

        Goes on, after a crash, with what still has none.
        """
        moved, left, last = 0, 0, ""
        while rows := await self._records.places(_PAGE, last):
            last = str(rows[-1].digest)
            for row in rows:
                if row.key:
                    continue
                async with alone(row.digest):
                    done = await self._move(row, kept)
                moved += done
                left += not done and await self._records.place(row.digest) == ""
                if done and moved % 100 == 1:
                    log.info("moving blobs to the shared content", count=moved, content=self._content.name)
        if moved or left:
            log.info("blobs moved to the shared content", count=moved, not_here=left)
        return moved

    async def _move(self, row: Placed, kept: Callable[[Digest], bool]) -> bool:
        blob = self._store.find(row.digest)
        if blob is None:
            return False
        with self._store.staying(row.digest):
            place = await self._put(blob)
            # Whoever cancels this waits for the end: a pin that is left would stay for ever.
            with trio.CancelScope(shield=True):
                if not await self._records.relocate(row.digest, place):
                    await self.settle(row.digest, place)
                    return False
                if not kept(row.digest):
                    await self._store.unpin(row.digest)
        self.statistics.moved += 1
        return True

    async def reconcile(self) -> None:
        """Remove orphans, and tell of blobs whose object is missing. For the front end that collects."""
        await self.check()
        before = self._now() - self._safe
        while keys := await self._records.intents(before, _PAGE):
            await self._reap(keys, before, {})
        last = ""
        while page := await self._content.keys(last, _PAGE):
            last = page[-1].key
            old = {
                one.key: one.size for one in page if one.modified <= before and not one.key.startswith(OWNER)
            }
            await self._reap(list(old), before, old)
        lost = await self.missing()
        self.statistics.missing = len(lost)
        if lost:
            log.error(
                "owned blobs are missing in the shared content",
                count=len(lost),
                first=[str(row.digest) for row in lost[:3]],
                content=self._content.name,
                mend="Push them again, or restore what was deleted there behind the registry's back",
            )

    async def _reap(self, keys: Sequence[str], before: datetime, sizes: dict[str, int]) -> None:
        for key in await self._records.doomed(keys, before):
            await self._content.remove(key)
            self.statistics.orphans += 1
            self.statistics.orphan_bytes += sizes.get(key, 0)
            log.info("an orphan was removed from the shared content", key=key, size=sizes.get(key))

    async def missing(self) -> list[Placed]:
        """Give the owned blobs whose object is not there."""
        lost: list[Placed] = []
        last = ""
        while rows := await self._records.places(_PAGE, last):
            last = str(rows[-1].digest)
            placed = [row for row in rows if row.key]
            there = await self._listed(sorted(row.key for row in placed))
            lost += [row for row in placed if row.key not in there and await self._is_missing(row)]
        return lost

    async def _listed(self, keys: Sequence[str]) -> set[str]:
        """List from the first of these keys to the last: like their digests, they are side by side."""
        found: set[str] = set()
        last = keys[0][:-1] if keys else ""
        while keys and last < keys[-1] and (page := await self._content.keys(last, _PAGE)):
            last = page[-1].key
            found.update(one.key for one in page)
        return found

    async def _is_missing(self, row: Placed) -> bool:
        """Ask again: lists may lag, and rows may have gone meanwhile."""
        try:
            async with self._content.open(row.key):
                return False
        except ContentMissingError:
            return await self._records.place(row.digest) == row.key


async def refuse_without_content(records: PutRecords) -> None:
    """Refuse to serve blobs that lie in shared content where none is configured: LocalError."""
    if await records.any_placed():
        raise LocalError(
            "metadata database",
            "its blobs lie in shared content, and hosting.content is not set here",
            "Set it as on the other front ends: hosting.content, or --content",
        )
