"""The store over any ``Files``: lookups, readers, reservations, and the way from partial to complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import chain as chained
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import Midstates
from p2p.errors import StoreError, StoreFullError, VerificationError
from p2p.store import journal, sidecar
from p2p.store.api import StoredBlob, StoreStatistics
from p2p.store.catalog import Catalog, Growing, Uploading
from p2p.store.chain import Chain
from p2p.store.eviction import Candidate, Room, decide
from p2p.store.files import closing, fault, read_file
from p2p.store.leaving import Leaving
from p2p.store.partial import GrowingBlob
from p2p.store.partial_file import PartialFile
from p2p.store.paths import JOURNAL, MIDSTATES, PIN, Paths
from p2p.store.scan import Found, scan
from p2p.store.scrub import scrub, verified
from p2p.store.uploads import StoredUploads
from p2p.store.verify import LinkHasher
from p2p.store.workers import Workers

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.config import StoreSettings
    from p2p.store.scan import Disk

TOUCH_EVERY: Final = 600.0
"""Seconds between two records of a blob's use: the order of eviction after a restart is that exact."""


class ContentStore:
    """``Store`` and its upkeep. Belongs to one trio run; the loop owns all state, threads do the I/O.

    ``withdraw`` is called, from the loop, before a blob's bytes go. ``hasher`` tells whether single
    chunks can be verified here.
    """

    def __init__(
        self,
        disk: Disk,
        paths: Paths,
        settings: StoreSettings,
        *,
        hasher: LinkHasher | None = None,
        withdraw: Callable[[Digest], None] | None = None,
    ) -> None:
        self.hasher = hasher or LinkHasher.load()
        self.withdraw: Callable[[Digest], None] = withdraw or (lambda _: None)
        self._disk = disk
        self._paths = paths
        self._settings = settings
        self._workers = Workers()
        self._catalog = Catalog()
        self._quarantined: dict[Path, int] = {}
        self._leaving = Leaving(self._workers)
        self._touched: dict[Digest, float] = {}
        self.moving = self._leaving.moving
        self.staying = self._leaving.staying
        self.uploads = StoredUploads(
            disk, paths, self._workers, self._catalog, self.hasher, self, paranoid=settings.paranoid
        )

    async def recover(self) -> None:
        """Read what is there already and delete strays. Once, before anything else."""
        found: Found = await self._workers.disk(str(self._paths.root), scan, self._disk, self._paths)
        self._quarantined = found.quarantined
        for digest in found.pins:
            self._catalog.pin(digest, pinned=True)
        for partial in found.partials:
            self._catalog.grow(partial.digest, Growing(partial.size, partial.written))
        self.uploads.found(found.uploads)
        for digest, size in found.blobs:
            if self._catalog.growing(digest) is not None:
                found.strays += [self._paths.partial(digest), self._paths.partial(digest, JOURNAL)]
            self._catalog.put(digest, size)
        await self._workers.disk(str(self._paths.root), self._unlink, found.strays)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────

    def find(self, digest: Digest) -> StoredBlob | None:
        """``Store.find``."""
        return self._catalog.find(digest)

    def open(self, digest: Digest) -> AbstractContextManager[int]:
        """``Store.open``."""
        blob = self._catalog.find(digest)
        if blob is None:
            raise KeyError(str(digest))
        return closing(self._open(blob))

    async def midstates(self, digest: Digest) -> Midstates:
        """``Store.midstates``."""
        none = Midstates(digest.algorithm)
        blob = self._catalog.find(digest)
        if blob is None:
            return none
        layout = Layout(blob.size)
        if layout.count == 1:
            return none
        path = self._paths.blob(digest, MIDSTATES)
        return await self._workers.disk(str(digest), sidecar.read, self._disk, path, digest.algorithm, layout)

    def blobs(self) -> list[StoredBlob]:
        """All complete blobs, least recently used first."""
        return list(self._catalog.blobs())

    def partials(self) -> list[tuple[Digest, int]]:
        """Partial blobs that nobody has open, with their sizes: ``open_partial`` resumes them."""
        return [(digest, item.size) for digest, item in self._catalog.partials() if not item.owned]

    def statistics(self) -> StoreStatistics:
        """Count."""
        blobs = list(self._catalog.blobs())
        return StoreStatistics(
            blobs=len(blobs),
            blob_bytes=self._catalog.blob_bytes,
            partials=sum(1 for _ in self._catalog.partials()),
            reserved_bytes=self._catalog.reserved(),
            pinned_bytes=sum(blob.size for blob in blobs if blob.pinned),
            capacity=self._settings.quota,
            free=self._disk.space().free,
            evicted=self._catalog.evicted,
            quarantined=len(self._quarantined),
            healthy=self._workers.healthy,
        )

    def _open(self, blob: StoredBlob, *, used: bool = True) -> int:
        path = self._paths.blob(blob.digest)
        try:
            fd = self._disk.open(path)
        except FileNotFoundError:
            self._forget(blob.digest)
            raise KeyError(str(blob.digest)) from None
        except OSError as error:
            raise fault(str(blob.digest), error) from error
        if os.fstat(fd).st_size != blob.size:
            # Somebody cut it behind our back; never serve a byte of it.
            os.close(fd)
            self._forget(blob.digest)
            self._to_quarantine(blob)
            raise KeyError(str(blob.digest))
        if used and not self.used_within(blob.digest, TOUCH_EVERY):
            self._touched[blob.digest] = trio.current_time()
            # The order of eviction after a restart is a nicety; a read-only disk must still be read.
            with suppress(OSError):
                self._disk.touch(fd)
        return fd

    # ── growing ────────────────────────────────────────────────────────────────────────────────────

    async def open_partial(self, digest: Digest, size: int) -> GrowingBlob:
        """``Store.open_partial``; StoreError where it is open or complete, ValueError for a bad size."""
        layout = Layout(size)
        await self._leaving.settled(digest)
        self._workers.check(str(digest))
        earlier = self._catalog.growing(digest)
        if earlier is not None and earlier.owned:
            raise StoreError(str(digest), "is being fetched already", "Wait for the one who fetches it.")
        if self._catalog.find(digest) is not None:
            raise StoreError(str(digest), "is complete already", "Open it for reading.")
        if earlier is not None and earlier.size != size:
            await self.discard_partial(digest)
            raise VerificationError(
                str(digest),
                f"was begun with {earlier.size} bytes and now has {size}",
                "What was there is discarded; begin again.",
            )
        mine = Growing(size, earlier.written if earlier is not None else 0, owned=True)
        victims = self._room_for(digest, size - mine.written)
        self._catalog.grow(digest, mine)
        try:
            await self._evict(victims)
            return await self._begin(Chain(digest, layout, self.hasher), resume=earlier is not None)
        except BaseException:
            if self._catalog.growing(digest) is mine:
                self._catalog.drop(digest)
                if earlier is not None:
                    self._catalog.grow(digest, earlier)
            raise

    def grew(self, partial: GrowingBlob) -> None:
        """``Owner.grew``."""
        growing = self._catalog.growing(partial.digest)
        if growing is not None:
            growing.written = partial.written_bytes

    def present(self, digest: Digest) -> StoredBlob | None:
        """``Owner.present``."""
        with suppress(KeyError), self.open(digest):
            return self._catalog.find(digest)
        return None

    def completed(self, partial: GrowingBlob) -> StoredBlob:
        """``Owner.completed``."""
        return self._catalog.put(partial.digest, partial.layout.size)

    def let_go(self, partial: GrowingBlob) -> None:
        """``Owner.let_go``."""
        if self._catalog.find(partial.digest) is not None:
            return
        self._catalog.drop(partial.digest)
        if not partial.gone:
            self._catalog.grow(partial.digest, Growing(partial.layout.size, partial.written_bytes))

    async def _begin(self, chain: Chain, *, resume: bool) -> GrowingBlob:
        file, replay = await self._workers.disk(str(chain.digest), self._open_files, chain, resume=resume)
        partial = GrowingBlob(chain, file, self._workers, self, paranoid=self._settings.paranoid)
        if replay is not None:
            try:
                await partial.restore(replay)
            except BaseException:
                file.close()
                raise
        return partial

    def _open_files(self, chain: Chain, *, resume: bool) -> tuple[PartialFile, journal.Replay | None]:
        replay = None
        if resume:
            path = self._paths.partial(chain.digest, JOURNAL)
            with suppress(FileNotFoundError):
                replay = journal.replay(read_file(self._disk, path, sidecar.LIMIT))
            if replay is not None and (replay.digest, replay.layout) != (chain.digest, chain.layout):
                replay = None
        try:
            return PartialFile(self._disk, self._paths, chain, replay), replay
        except OSError:
            if not resume:
                with suppress(OSError):
                    self._unlink(
                        [self._paths.partial(chain.digest), self._paths.partial(chain.digest, JOURNAL)]
                    )
            raise

    # ── room ───────────────────────────────────────────────────────────────────────────────────────

    async def reserve(self, item: Uploading, more: int) -> None:
        """Let an upload grow, evicting if need be. StoreFullError where nothing helps."""
        victims = self._room_for(item.subject, more)
        item.size += more
        try:
            await self._evict(victims)
        except BaseException:
            item.size -= more
            raise

    def _room_for(self, subject: Digest | str, need: int) -> tuple[Digest | Path, ...]:
        """Choose what goes so that ``need`` more bytes fit. StoreFullError where nothing helps."""
        space = self._disk.space()
        room = Room(
            quota=self._settings.quota,
            used=self._catalog.blob_bytes + self._catalog.reserved(),
            free=space.free + self._leaving.freeing - self._catalog.outstanding(),
            floor=int(space.total * self._settings.minimum_free),
            high=self._settings.high_water,
            low=self._settings.low_water,
        )
        bad: Iterator[Candidate[Digest | Path]] = (Candidate(p, s) for p, s in self._quarantined.items())
        idle: Iterator[Candidate[Digest | Path]] = (
            Candidate(c.key, c.size)
            for c in self._catalog.candidates()
            if c.key != subject and not self._leaving.busy(c.key)
        )
        verdict = decide(room, need, chained(bad, idle))
        if verdict.short:
            quota = f", {room.used:,} of the quota of {room.quota:,} are taken" if room.quota else ""
            raise StoreFullError(
                str(subject),
                f"needs {need:,} bytes, {verdict.short:,} more than can be freed"
                f" ({max(0, room.free):,} bytes are free, {room.floor:,} must stay so{quota})",
                "Free disk space, unpin images, or raise `store.quota`.",
            )
        return verdict.victims

    async def _evict(self, victims: Sequence[Digest | Path]) -> None:
        leaving: list[Digest] = []
        paths: list[Path] = []
        size = 0
        for victim in victims:
            if isinstance(victim, Digest):
                blob = self._catalog.find(victim)
                growing = self._catalog.growing(victim)
                size += blob.size if blob is not None else growing.written if growing is not None else 0
                self._catalog.evicted += 1
                self._forget(victim)
                leaving.append(victim)
                paths += self._paths_of(victim)
            else:
                size += self._quarantined.pop(victim, 0)
                paths.append(victim)
        if paths:
            await self._leaving.run(leaving, size, lambda: self._unlink(paths))

    def _forget(self, digest: Digest) -> None:
        """Withdraw the announcement first, then take it out of the catalog."""
        self.withdraw(digest)
        self._touched.pop(digest, None)
        self._catalog.drop(digest)

    def _paths_of(self, digest: Digest) -> list[Path]:
        """Give all files of a digest but its pin; first those without which the others are strays."""
        blob, partial = self._paths.blob, self._paths.partial
        return [blob(digest), blob(digest, MIDSTATES), partial(digest, JOURNAL), partial(digest)]

    def _unlink(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._disk.unlink(path)

    # ── upkeep ─────────────────────────────────────────────────────────────────────────────────────

    async def remove(self, digest: Digest) -> None:
        """``Store.remove``."""
        await self._leaving.settled(digest)
        blob = self._catalog.find(digest)
        if blob is not None:
            self._forget(digest)
            await self._leaving.run([digest], blob.size, lambda: self._unlink(self._paths_of(digest)))

    async def discard_partial(self, digest: Digest) -> None:
        """Delete a partial blob that nobody has open; StoreError where somebody has."""
        await self._leaving.settled(digest)
        growing = self._catalog.growing(digest)
        if growing is None:
            return
        if growing.owned:
            raise StoreError(str(digest), "is being fetched", "Cancel the pull first.")
        self._forget(digest)
        await self._leaving.run([digest], growing.written, lambda: self._unlink(self._paths_of(digest)))

    async def pin(self, digest: Digest) -> None:
        """Never evict this digest, whether or not it is here already; lasts over restarts."""
        self._catalog.pin(digest, pinned=True)

        def mark() -> None:
            path = self._paths.blob(digest, PIN)
            os.close(self._disk.create(path, 0))
            self._disk.sync_directory(path.parent)

        await self._workers.disk(str(digest), mark)

    async def unpin(self, digest: Digest) -> None:
        """Let it be evicted again."""
        self._catalog.pin(digest, pinned=False)
        await self._workers.disk(str(digest), self._disk.unlink, self._paths.blob(digest, PIN))

    async def quarantine(self, digest: Digest) -> None:
        """Put a complete blob aside: it is neither found nor served, and fetched again when wanted."""
        await self._leaving.settled(digest)
        blob = self._catalog.find(digest)
        if blob is None:
            return
        self._forget(digest)
        await self._leaving.run([digest], 0, lambda: self._to_quarantine(blob))

    def _to_quarantine(self, blob: StoredBlob) -> None:
        aside = self._paths.quarantine(blob.digest)
        self._disk.rename(self._paths.blob(blob.digest), aside)
        self._disk.unlink(self._paths.blob(blob.digest, MIDSTATES))
        self._quarantined[aside] = blob.size

    async def oldest_verified(self) -> list[StoredBlob]:
        """All complete blobs, those first whose bytes were verified longest ago."""
        when = await self._workers.disk(str(self._paths.root), verified, self._disk, self._paths)
        return sorted(self._catalog.blobs(), key=lambda blob: when.get(blob.digest, 0))

    def used_within(self, digest: Digest, seconds: float) -> bool:
        """Whether a blob was opened in that time, as far as ``TOUCH_EVERY`` tells."""
        return trio.current_time() - self._touched.get(digest, -inf) < seconds

    async def scrub_one(self, digest: Digest, *, share: float = 1.0) -> bool:
        """Hash a complete blob as it lies on disk; a bad one is quarantined, False. KeyError if not here.

        A lost midstate list is restored on the way. ``share``: the part of the time that it may take.
        """
        blob = self._catalog.peek(digest)
        if blob is None:
            raise KeyError(str(digest))
        chain = Chain(digest, Layout(blob.size), self.hasher)
        with closing(self._open(blob, used=False)) as fd:
            path, peek = self._paths.blob(digest, MIDSTATES), self._catalog.peek
            holds = await scrub(self._workers, self._disk, chain, fd, path, share, lambda: peek(digest))
        if not holds:
            await self.quarantine(digest)
        return holds
