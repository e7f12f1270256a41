"""How bytes become a blob of a hosted repository, and how they go again: one digest at a time.

Bytes are durable before their row is, and gone only after it says so. Within one node a lock for each digest
keeps a push and a collection of the same bytes apart; between front ends of one database the row does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.errors import RemoraError
from p2p.metadata.hosting import GarbageStatistics
from p2p.registry.locks import Locks

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Accepted, Hosting, Pushed
    from p2p.registry.api import OwnedContent
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
    """``collected`` blobs and their ``bytes`` since the start; the review queue when it was last measured."""

    collected: int = 0
    bytes: int = 0
    queued: int = 0
    overdue: int = 0
    retries: int = 0


class Intake:
    """Puts uploads among the blobs of a repository. ``grace`` in seconds; ``announce`` tells the peers.

    ``kept``: bytes that somebody else needs too (a layout's), which a collection leaves where they are.
    """

    def __init__(
        self,
        *,
        content: OwnedContent,
        hosting: Hosting,
        grace: float,
        announce: Callable[[Holding], None],
        kept: Callable[[Digest], bool] = lambda _: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._content = content
        self._hosting = hosting
        self._grace = timedelta(seconds=grace)
        self._announce = announce
        self._kept = kept
        self._now = now
        self._locks: Locks[Digest] = Locks()
        self._round = trio.Lock()
        self._collected = self._bytes = 0
        self._garbage = GarbageStatistics(0, 0, 0)

    def alone(self, repository: Repository, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Keep every other push of a digest out, to whatever repository, and its collection."""
        del repository
        return self._locks.holding(digest)

    def holds(self, digest: Digest) -> bool:
        """Whether the bytes are here."""
        return self._content.find(digest) is not None

    async def take(
        self, repository: Repository, upload: Upload, digest: Digest, media_type: str
    ) -> StoredBlob:
        """Make an upload a blob of a repository. VerificationError: it has another digest; StoreError."""
        async with self.alone(repository, digest):
            with self._content.staying(digest):
                blob = await upload.finish(digest)
                await self._record(repository, Descriptor(media_type, digest, blob.size))
                await self._keep(blob)
        return blob

    async def accept(self, repository: Repository, upload: Upload, pushed: Pushed) -> Accepted:
        """Make an upload a manifest of a repository, unless that is refused. StoreError."""
        digest = pushed.descriptor.digest
        async with self.alone(repository, digest):
            with self._content.staying(digest):
                blob = await upload.finish(digest)
                accepted = await self._put(repository, pushed)
                if not accepted.missing and not accepted.conflicts:
                    await self._keep(blob)
        return accepted

    async def _put(self, repository: Repository, pushed: Pushed) -> Accepted:
        wait = _LEAST_WAIT
        accepted = await self._hosting.put_manifest(repository, pushed, now=self._now())
        while pushed.descriptor.digest in accepted.missing and wait < _MOST_WAIT:
            # As in ``_record``: the manifest's own bytes are being collected elsewhere.
            await trio.sleep(wait)
            wait *= 2
            accepted = await self._hosting.put_manifest(repository, pushed, now=self._now())
        return accepted

    async def _keep(self, blob: StoredBlob) -> None:
        """Keep owned bytes from eviction, and tell the peers of them.

        After the row, so that a crash leaves nothing that is kept for ever and nobody's; ``reconcile`` does
        what is left of it. Whoever asked may leave: who hears of the row counts on the bytes.
        """
        with trio.CancelScope(shield=True):
            await self._content.pin(blob.digest)
        if self._content.find(blob.digest) is None:
            raise RegistryError(
                "UNAVAILABLE",
                f"{blob.digest} was lost as it came in",
                status=503,
                mend="Push it again; the log says what was wrong with it",
            )
        self._announce(Holding(str(blob.digest), blob.size, Layout(blob.size).count, True))

    async def _record(self, repository: Repository, blob: Descriptor) -> None:
        wait = _LEAST_WAIT
        for _ in range(TRIES):
            if await self._hosting.add_blob(repository, blob, lease=self._now() + self._grace):
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
        """
        gone: list[Digest] = []
        # What another front end is deleting is its affair.
        if await self._hosting.collects():
            await self._delete_claimed(gone)
        mended = len(gone)
        last, lost = "", 0
        while owned := await self._hosting.owned(_PAGE, last):
            last = str(owned[-1])
            for digest in owned:
                blob = self._content.find(digest)
                lost += blob is None
                if blob is not None and not blob.pinned:
                    await self._content.pin(digest)
                    mended += 1
        if lost:
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
                size = await self._hosting.claim(digest, at)
                if size is not None:
                    await self._delete(digest)
        if size is not None:
            self._note(digest, size, gone, told)
            await trio.lowlevel.checkpoint()

    async def _delete_claimed(self, gone: list[Digest], told: Told = _silent) -> None:
        """Go on with deletes that failed or were cut short: no push of these bytes succeeds before."""
        for digest in await self._hosting.deleting():
            async with self._locks.holding(digest):
                # Asked again: while this waited for the lock, they may have been deleted and pushed anew.
                if digest not in await self._hosting.deleting():
                    continue
                blob = self._content.find(digest)
                await self._delete(digest)
            self._note(digest, 0 if blob is None else blob.size, gone, told)

    def _note(self, digest: Digest, size: int, gone: list[Digest], told: Told) -> None:
        self._collected += 1
        self._bytes += size
        gone.append(digest)
        told(digest, size)

    async def _delete(self, digest: Digest) -> None:
        if not self._kept(digest):
            await self._content.unpin(digest)
            await self._content.remove(digest)  # withdraws the announcement first
        await self._hosting.collected(digest)

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
        return CollectionStatistics(self._collected, self._bytes, queue.queued, queue.overdue, queue.retries)

    async def run(
        self, interval: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Collect every ``interval`` seconds."""
        await self.reconcile()
        await self.garbage()
        task_status.started()
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
