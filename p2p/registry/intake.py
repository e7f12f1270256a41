"""How bytes become a blob of a hosted repository, and how they go again: one digest at a time.

Bytes are durable before their row is, and gone only after it says so. Within one node a lock for each digest
keeps a push and a collection of the same bytes apart; between front ends of one database the row does. What
owned bytes are: those in the content that front ends share; where there is none, those in this node's store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.errors import ContentError, ContentRefusedError, RemoraError
from p2p.metadata.hosting import GarbageStatistics
from p2p.registry.locks import Locks
from p2p.registry.sharing import refuse_without_content

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Accepted, Hosting, Place, Placed, Pushed
    from p2p.registry.api import OwnedContent
    from p2p.registry.sharing import Sharing
    from p2p.store.api import StoredBlob, Upload

log = structlog.get_logger(__name__)

TRIES: Final = 50
_PAGE: Final = 100
_END: Final = datetime.max.replace(tzinfo=UTC)
_LEAST_WAIT: Final = 0.02
_MOST_WAIT: Final = 0.5


Told = Callable[["Digest", int], None]
"""Called with each blob that goes, and its size."""


def _silent(digest: Digest, size: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class CollectionStatistics:
    """``collected`` blobs and their ``bytes`` since the start; the review queue when it was last measured.

    Of shared content: orphans that were removed and their bytes, blobs that were moved there, and how many
    had lost their object when that was last looked at.
    """

    collected: int = 0
    bytes: int = 0
    queued: int = 0
    overdue: int = 0
    retries: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    moved: int = 0
    missing: int = 0


class Intake:
    """Puts uploads among the blobs of a repository. ``grace`` in seconds; ``announce`` tells the peers.

    ``kept``: bytes that somebody else needs too (a layout's), which a collection leaves where they are.
    ``sharing``: where owned bytes are kept; None: here, by a pin.
    """

    def __init__(
        self,
        *,
        content: OwnedContent,
        hosting: Hosting,
        grace: float,
        announce: Callable[[Holding], None],
        kept: Callable[[Digest], bool] = lambda _: False,
        sharing: Sharing | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._content = content
        self._hosting = hosting
        self._grace = timedelta(seconds=grace)
        self._announce = announce
        self._kept = kept
        self._sharing = sharing
        self._now = now
        self._locks: Locks[Digest] = Locks()
        self._round = trio.Lock()
        self._collected = self._bytes = 0
        self._garbage = GarbageStatistics(0, 0, 0)

    def alone(self, repository: Repository, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Keep every other push of a digest out, to whatever repository, and its collection."""
        del repository
        return self._locks.holding(digest)

    async def holds(self, digest: Digest) -> bool:
        """Whether the bytes are here, or where all front ends find them."""
        if self._content.find(digest) is not None:
            return True
        return self._sharing is not None and await self._sharing.holds(digest)

    async def take(
        self, repository: Repository, upload: Upload, digest: Digest, media_type: str
    ) -> StoredBlob:
        """Make an upload a blob of a repository. VerificationError: it has another digest; StoreError."""
        async with self.alone(repository, digest):
            with self._content.staying(digest):
                blob = await upload.finish(digest)
                await self._record(repository, Descriptor(media_type, digest, blob.size), blob)
                await self._keep(blob)
        return blob

    async def accept(self, repository: Repository, upload: Upload, pushed: Pushed) -> Accepted:
        """Make an upload a manifest of a repository, unless that is refused. StoreError."""
        digest = pushed.descriptor.digest
        async with self.alone(repository, digest):
            with self._content.staying(digest):
                blob = await upload.finish(digest)
                accepted = await self._put(repository, pushed, blob)
                if not accepted.missing and not accepted.conflicts:
                    await self._keep(blob)
        return accepted

    async def _put(self, repository: Repository, pushed: Pushed, blob: StoredBlob) -> Accepted:
        wait = _LEAST_WAIT
        while True:
            place = await self._place(blob)
            pushed = replace(pushed, place=place)
            accepted = await self._hosting.put_manifest(repository, pushed, now=self._now())
            await self._settle(blob, place)
            if pushed.descriptor.digest not in accepted.missing or wait >= _MOST_WAIT:
                return accepted
            # As in ``_record``: the manifest's own bytes are being collected elsewhere.
            await trio.sleep(wait)
            wait *= 2

    async def _place(self, blob: StoredBlob) -> Place | None:
        return None if self._sharing is None else await self._sharing.place(blob)

    async def _settle(self, blob: StoredBlob, place: Place | None) -> None:
        if self._sharing is not None and place is not None:
            await self._sharing.settle(blob.digest, place)

    async def _keep(self, blob: StoredBlob) -> None:
        """Keep owned bytes from eviction, and tell the peers of them.

        After the row, so that a crash leaves nothing that is kept for ever and nobody's; ``reconcile`` does
        what is left of it. Whoever asked may leave: who hears of the row counts on the bytes. Of shared
        content there is only a cache here.
        """
        if self._sharing is not None:
            if self._content.find(blob.digest) is not None:
                self._tell(blob)
            return
        with trio.CancelScope(shield=True):
            await self._content.pin(blob.digest)
        if self._content.find(blob.digest) is None:
            raise RegistryError(
                "UNAVAILABLE",
                f"{blob.digest} was lost as it came in",
                status=503,
                mend="Push it again; the log says what was wrong with it",
            )
        self._tell(blob)

    def _tell(self, blob: StoredBlob) -> None:
        self._announce(Holding(str(blob.digest), blob.size, Layout(blob.size).count, True))

    async def _record(self, repository: Repository, blob: Descriptor, stored: StoredBlob) -> None:
        wait = _LEAST_WAIT
        for _ in range(TRIES):
            place = await self._place(stored)
            lease = self._now() + self._grace
            added = await self._hosting.add_blob(repository, blob, lease=lease, place=place)
            await self._settle(stored, place)
            if added:
                return
            # Another front end collects these very bytes: its row goes in a moment.
            await trio.sleep(wait)
            wait = min(_MOST_WAIT, 2 * wait)
        raise RegistryError(
            "UNAVAILABLE",
            f"{blob.digest} is being collected and does not go",
            status=503,
            mend="Try again; if it stays so, look at the log of the other front ends",
        )

    # ── the other way ──────────────────────────────────────────────────────────────────────────────

    async def reconcile(self) -> int:
        """Go on where a crash stopped: delete what was claimed, keep what is owned; gives how many that were.

        What is owned and has no bytes here is told in the log: it may be at another front end's, or lost.
        Of shared content only that is pinned which does not lie there yet. ContentRefusedError where that
        can't be used.
        """
        gone: list[Digest] = []
        try:
            if self._sharing is None:
                await refuse_without_content(self._hosting)
            else:
                await self._sharing.check()
            # What another front end is deleting is its affair.
            if await self._hosting.collects():
                await self._delete_claimed(gone)
        except ContentRefusedError:
            raise
        except ContentError as error:
            # It may come back; until then what is here is served.
            log.warning("shared content can't be reached", cause=str(error))
        mended = len(gone)
        last, lost = "", 0
        while owned := await self._hosting.places(_PAGE, last):
            last = str(owned[-1].digest)
            for row in owned:
                if row.key:
                    continue
                blob = self._content.find(row.digest)
                lost += blob is None
                if blob is not None and not blob.pinned:
                    await self._content.pin(row.digest)
                    mended += 1
        if lost and self._sharing is None:
            log.error("owned blobs are not in the store", count=lost, mend="Restore the state directory")
        return mended

    async def collect(
        self,
        now: datetime | None = None,
        *,
        early: bool = False,
        told: Told = _silent,
    ) -> list[Digest]:
        """Review all that is due; gives what went, and calls ``told`` for each with its size.

        ``early``: what is queued for later too. Leases hold in any case.
        """
        gone: list[Digest] = []
        at = self._now() if now is None else now
        async with self._round:
            if not await self._hosting.collects():
                return gone
            await self._delete_claimed(gone, told)
            # All at once, and not page by page: what is put off stays among those that are queued for later.
            early_ones = await self._hosting.due(_END, await self._queued()) if early else ()
            for digest in early_ones:
                await self._review(digest, at, gone, told)
            while due := await self._hosting.due(at, _PAGE):
                for digest in due:
                    await self._review(digest, at, gone, told)
        return gone

    async def preview(
        self,
        now: datetime | None = None,
        *,
        early: bool = False,
        told: Told = _silent,
    ) -> list[Digest]:
        """Tell what ``collect`` would take now, and change nothing."""
        at = self._now() if now is None else now
        found: list[Digest] = []
        for digest in await self._hosting.due(_END if early else at, await self._queued()):
            size = await self._hosting.reviewed(digest, at)
            if size is not None:
                found.append(digest)
                told(digest, size)
        return found

    async def _queued(self) -> int:
        return (await self.garbage()).queued

    async def _review(self, digest: Digest, at: datetime, gone: list[Digest], told: Told) -> None:
        async with self._locks.holding(digest):
            # Whoever cancels a round waits for the one at hand: half deleted, it would hold up a push of it.
            with trio.CancelScope(shield=True):
                claimed = await self._hosting.claim(digest, at)
                if claimed is not None:
                    await self._delete(claimed)
        if claimed is not None:
            self._note(claimed, gone, told)
            await trio.lowlevel.checkpoint()

    async def _delete_claimed(self, gone: list[Digest], told: Told = _silent) -> None:
        """Go on with deletes that failed or were cut short: no push of these bytes succeeds before."""
        for claimed in await self._hosting.deleting():
            async with self._locks.holding(claimed.digest):
                # Asked again: while this waited for the lock, they may have been deleted and pushed anew.
                if claimed not in await self._hosting.deleting():
                    continue
                await self._delete(claimed)
            self._note(claimed, gone, told)

    def _note(self, claimed: Placed, gone: list[Digest], told: Told) -> None:
        self._collected += 1
        self._bytes += claimed.size
        gone.append(claimed.digest)
        told(claimed.digest, claimed.size)

    async def _delete(self, claimed: Placed) -> None:
        digest = claimed.digest
        if not self._kept(digest):
            await self._content.unpin(digest)
            await self._content.remove(digest)  # withdraws the announcement first
        if claimed.key:
            assert self._sharing is not None, "reconcile refuses to start without"
            await self._sharing.remove(claimed.key)
        await self._hosting.collected(digest, claimed.key)

    async def garbage(self) -> GarbageStatistics:
        """Measure the review queue."""
        self._garbage = await self._hosting.garbage(self._now())
        return self._garbage

    async def collects(self) -> bool:
        """Whether this front end is the one that collects, of those that share a database."""
        return await self._hosting.collects()

    def statistics(self) -> CollectionStatistics:
        """Count, without asking the database."""
        queue = self._garbage
        mine = (self._collected, self._bytes, queue.queued, queue.overdue, queue.retries)
        if self._sharing is None:
            return CollectionStatistics(*mine)
        there = self._sharing.statistics
        return CollectionStatistics(*mine, there.orphans, there.orphan_bytes, there.moved, there.missing)

    async def run(
        self, interval: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Collect every ``interval`` seconds, and put the shared content in order."""
        await self.reconcile()
        await self.garbage()
        async with trio.open_nursery() as nursery:
            if self._sharing is not None:
                order = partial(self._sharing.run, alone=self._locks.holding, kept=self._kept, again=interval)
                nursery.start_soon(partial(order, collects=self.collects))
            task_status.started()
            await self._collect_for_ever(interval)

    async def _collect_for_ever(self, interval: float) -> None:
        while True:
            await trio.sleep(interval)
            try:
                gone = await self.collect()
                await self.garbage()
            except RemoraError as error:
                log.warning("collection failed", cause=str(error))
            else:
                if gone:
                    log.info("blobs collected", count=len(gone))
