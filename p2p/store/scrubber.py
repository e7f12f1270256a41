"""Scrubbing on a schedule: every blob at rest is hashed anew once in a period, one at a time and slowly."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2p.config import ScrubSettings
    from p2p.core.oci.digest import Digest
    from p2p.store.api import StoredBlob

QUIET: Final = 600.0
"""Seconds without a reader after which a blob counts as idle."""

NOTHING: Final = 3600.0
"""Seconds before an empty store is looked at again."""

OVERHEAD: Final = 64 << 10
"""Bytes that a blob's scrub costs beside its own."""

MARGIN: Final = 0.9
"""Part of the period that a cycle is planned for."""


class Scrubbed(Protocol):
    """The store, as it is scrubbed."""

    async def oldest_verified(self) -> Sequence[StoredBlob]:
        """All complete blobs, those first whose bytes were verified longest ago."""
        ...

    async def scrub_one(self, digest: Digest, *, share: float = 1.0) -> bool:
        """Hash one; False where it was bad, and quarantined. KeyError where it is not here."""
        ...

    def used_within(self, digest: Digest, seconds: float) -> bool:
        """Whether somebody opened it in that time."""
        ...


@dataclass(frozen=True, slots=True)
class ScrubStatistics:
    """Since the start: whole ``cycles``, ``blobs`` hashed, their ``bytes``, and the ``bad`` among them.

    ``failed``: how often the disk refused; these are tried again in the next cycle.
    """

    cycles: int = 0
    blobs: int = 0
    bytes: int = 0
    bad: int = 0
    failed: int = 0


class Scrubber:
    """Goes round the store. ``on_bad`` is called, from the loop, when a bad blob was put aside.

    Its announcement was withdrawn before. The pause before a blob follows from its part of all bytes, so that
    a cycle takes nine tenths of the period; ``share`` has the last word, and a disk that is too slow for
    both has a longer cycle.
    """

    def __init__(
        self, store: Scrubbed, settings: ScrubSettings, *, on_bad: Callable[[Digest], None] | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_bad: Callable[[Digest], None] = on_bad or (lambda _: None)
        self._cycles = self._blobs = self._bytes = self._bad = self._failed = 0

    def statistics(self) -> ScrubStatistics:
        """Count."""
        return ScrubStatistics(self._cycles, self._blobs, self._bytes, self._bad, self._failed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Scrub until cancelled; ends at once where the period is 0."""
        task_status.started()
        while self._settings.period > 0:
            try:
                found = await self._store.oldest_verified()
            except StoreError:
                self._failed += 1
                found = ()
            if not found:
                await trio.sleep(NOTHING)
                continue
            await self._cycle(found)
            self._cycles += 1

    async def _cycle(self, blobs: Sequence[StoredBlob]) -> None:
        weight = sum(blob.size + OVERHEAD for blob in blobs)
        pace = self._settings.period * MARGIN / weight
        queue = deque((blob, False) for blob in blobs)
        due = trio.current_time()
        while queue:
            blob, put_off = queue.popleft()
            if not put_off and queue and self._store.used_within(blob.digest, QUIET):
                # Somebody reads it now. It comes last, whatever it does then: none is left out for ever.
                queue.append((blob, True))
                continue
            due += (blob.size + OVERHEAD) * pace
            await trio.sleep_until(due)
            await self._scrub(blob)

    async def _scrub(self, blob: StoredBlob) -> None:
        with suppress(KeyError, StoreError):
            await self.scrub(blob, share=self._settings.share)

    async def scrub(self, blob: StoredBlob, *, share: float = 1.0) -> bool:
        """Hash one now, and count it; False where it was bad.

        KeyError where it is not here any more, StoreError where the disk refuses.
        """
        try:
            holds = await self._store.scrub_one(blob.digest, share=share)
        except StoreError:
            self._failed += 1
            raise
        self._blobs += 1
        self._bytes += blob.size
        if not holds:
            self._bad += 1
            self._on_bad(blob.digest)
        return holds
