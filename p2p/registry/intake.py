"""How bytes become a blob of a hosted repository, and how they go again: one digest at a time.

Bytes are durable before their row is, and gone only after it says so. Within one node a lock for each digest
keeps a push and a collection of the same bytes apart; between front ends of one database the row does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.errors import RemoraError
from p2p.registry.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Accepted, GarbageStatistics, Hosting, Pushed
    from p2p.registry.api import OwnedContent
    from p2p.store.api import StoredBlob, Upload

log = structlog.get_logger(__name__)

TRIES: Final = 50
_PAGE: Final = 100
_LEAST_WAIT: Final = 0.02
_MOST_WAIT: Final = 0.5


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

    def alone(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Keep every other push and collection of a digest out."""
        return self._locks.holding(digest)

    def holds(self, digest: Digest) -> bool:
        """Whether the bytes are here."""
        return self._content.find(digest) is not None

    async def take(
        self, repository: Repository, upload: Upload, digest: Digest, media_type: str
    ) -> StoredBlob:
        """Make an upload a blob of a repository. VerificationError: it has another digest; StoreError."""
        async with self.alone(digest):
            with self._content.staying(digest):
                blob = await upload.finish(digest)
                await self._record(repository, Descriptor(media_type, digest, blob.size))
                await self._keep(blob)
        return blob

    async def accept(self, repository: Repository, upload: Upload, pushed: Pushed) -> Accepted:
        """Make an upload a manifest of a repository, unless that is refused. StoreError."""
        digest = pushed.descriptor.digest
        async with self.alone(digest):
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
        # What another front end is deleting is its affair.
        mended = len(await self._delete_claimed()) if await self._hosting.collects() else 0
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

    async def collect(self, now: datetime | None = None) -> list[Digest]:
        """Review all that is due; gives what went."""
        at = self._now() if now is None else now
        if not await self._hosting.collects():
            return []
        gone = await self._delete_claimed()
        while due := await self._hosting.due(at, _PAGE):
            for digest in due:
                async with self.alone(digest):
                    if await self._hosting.claim(digest, at) is not None:
                        await self._delete(digest)
                        gone.append(digest)
        return gone

    async def _delete_claimed(self) -> list[Digest]:
        """Go on with deletes that failed or were cut short: no push of these bytes succeeds before."""
        gone = []
        for digest in await self._hosting.deleting():
            async with self.alone(digest):
                # Asked again: while this waited for the lock, they may have been deleted and pushed anew.
                if digest in await self._hosting.deleting():
                    await self._delete(digest)
                    gone.append(digest)
        return gone

    async def _delete(self, digest: Digest) -> None:
        if not self._kept(digest):
            await self._content.unpin(digest)
            await self._content.remove(digest)  # withdraws the announcement first
        await self._hosting.collected(digest)

    async def garbage(self) -> GarbageStatistics:
        """Measure the review queue."""
        return await self._hosting.garbage(self._now())

    async def run(
        self, interval: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Collect every ``interval`` seconds."""
        await self.reconcile()
        task_status.started()
        while True:
            await trio.sleep(interval)
            try:
                gone = await self.collect()
            except RemoraError as error:
                log.warning("collection failed", cause=str(error))
            else:
                if gone:
                    log.info("blobs collected", count=len(gone))
