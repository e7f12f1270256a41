"""The files of one partial blob, data and journal. Everything here blocks: it runs in worker threads."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from p2p.core.swarm.midstates import Midstates
from p2p.errors import StoreUnhealthyError
from p2p.store import journal, sidecar
from p2p.store.chain import Chain, Link, Rehash
from p2p.store.files import read_all, synced, write_all
from p2p.store.paths import JOURNAL, MIDSTATES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from p2p.store.files import Files
    from p2p.store.paths import Paths


class PartialFile:
    """Data and journal, open; made anew, or resumed from ``replay``.

    The journal is written in the same call as the data, right behind it: what a killed process loses is
    what it was just writing. ``fd`` is the data file. ``gone``: there is nothing left to resume.
    OSError wherever the disk fails.
    """

    def __init__(self, files: Files, paths: Paths, chain: Chain, replay: journal.Replay | None) -> None:
        self.files = files
        self._paths = paths
        self._chain = chain
        self._log = threading.Lock()
        self._length = 0 if replay is None else replay.length
        self._listed = Midstates(chain.digest.algorithm) if replay is None else replay.midstates
        self._in_order = Rehash(chain)
        self._mixed = replay is not None
        self._closed = False
        self.gone = False
        self.fd = files.create(paths.partial(chain.digest), chain.layout.size)
        try:
            self._journal = files.create(paths.partial(chain.digest, JOURNAL), self._length)
        except BaseException:
            os.close(self.fd)
            raise
        try:
            if replay is None:
                self._append(journal.header(chain.digest, chain.layout.size))
        except BaseException:
            self.close()
            raise

    def take(
        self, links: Sequence[Link], pieces: Sequence[memoryview], held: Collection[int], midstates: Midstates
    ) -> list[bool]:
        """Verify chunks and write those that hold and aren't ``held``; one answer for each."""
        self._mixed = True
        answers = []
        written = []
        for link, piece in zip(links, pieces, strict=True):
            holds = self._chain.holds(link, piece)
            answers.append(holds)
            if holds and link.index not in held:
                self._put(link.index, piece)
                written.append(link.index)
        self.record(midstates, written)
        return answers

    def extend(
        self, first: int, pieces: Sequence[memoryview], base: Midstates, held: Collection[int]
    ) -> bytes | None:
        """Hash and write chunks behind the list ``base``; gives their states, None on a wrong digest."""
        if not self._chain.linked:
            return self._extend_unlinked(first, pieces, base)
        state = base.state(first)
        states = b""
        for index, piece in enumerate(pieces, first):
            if index == self._chain.layout.last:
                if not self._chain.holds(Link(index, state, self._chain.digest.raw), piece):
                    return None
            else:
                state = self._chain.advance(state, index, piece)
                states += state
            if index not in held:
                self._put(index, piece)
        self.record(base.joined(first, states) if states else base, range(first, first + len(pieces)))
        return states

    def _extend_unlinked(self, first: int, pieces: Sequence[memoryview], base: Midstates) -> bytes | None:
        if first == self._in_order.next:
            for piece in pieces:
                self._in_order.feed(piece)
            if self._in_order.next == self._chain.layout.count and not self._in_order.holds:
                return None
        for index, piece in enumerate(pieces, first):
            self._put(index, piece)
        self.record(base, range(first, first + len(pieces)))
        return b""

    @property
    def proven(self) -> bool:
        """Whether every byte went through one hash in order, and from nowhere else (without libcrypto)."""
        return self._in_order.holds and not self._mixed

    def holds(self, link: Link, buffer: memoryview) -> bool:
        """Verify a chunk's bytes on disk; one that can't be read does not hold."""
        piece = buffer[: self._chain.layout.length(link.index)]
        try:
            read_all(self.files, self.fd, piece, self._chain.layout.offset(link.index))
        except OSError:
            return False
        return self._chain.holds(link, piece)

    def record(self, midstates: Midstates, written: Iterable[int] = (), *, exact: bool = False) -> None:
        """Note the list and chunks that were written.

        Calls of several threads may overtake each other, so that a shorter list that agrees with the one
        noted last is an older one and skipped, unless it is ``exact``.
        """
        written = tuple(written)
        with self._log:
            entry = b""
            older = midstates.length <= self._listed.length and midstates.agrees(self._listed)
            if exact or not older:
                entry = journal.difference(self._listed, midstates)
            if written:
                entry += journal.chunks(written)
            if entry:
                self._append(entry)
            if exact or not older:
                self._listed = midstates

    def seal(self, midstates: Midstates) -> None:
        """Make the data a complete blob, durably. StoreUnhealthyError, and nothing left, if a sync fails."""
        digest = self._chain.digest
        blob = self._paths.blob(digest)
        if midstates.length:
            sidecar.write(self.files, self._paths.blob(digest, MIDSTATES), midstates)
        self._synced(lambda: self.files.sync(self.fd))
        self.files.rename(self._paths.partial(digest), blob)
        self._synced(lambda: self.files.sync_directory(blob.parent))
        self.gone = True
        # The journal without its data is a stray: should this fail, the next start removes it.
        with suppress(OSError):
            self.files.unlink(self._paths.partial(digest, JOURNAL))

    def delete(self) -> None:
        """Delete both files."""
        self.gone = True
        self.files.unlink(self._paths.partial(self._chain.digest, JOURNAL))
        self.files.unlink(self._paths.partial(self._chain.digest))

    def close(self) -> None:
        """Close both descriptors."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)
            os.close(self._journal)

    def _put(self, index: int, piece: memoryview) -> None:
        write_all(self.files, self.fd, piece, self._chain.layout.offset(index))

    def _append(self, entry: bytes) -> None:
        # The length moves only when all is written: what a failed call left is overwritten by the next.
        write_all(self.files, self._journal, memoryview(entry), self._length)
        self._length += len(entry)

    def _synced(self, sync: Callable[[], None]) -> None:
        digest = self._chain.digest
        made = (
            self._paths.partial(digest, JOURNAL),
            self._paths.partial(digest),
            self._paths.blob(digest),
            self._paths.blob(digest, MIDSTATES),
        )
        try:
            synced(self.files, str(digest), sync, made)
        except StoreUnhealthyError:
            self.gone = True
            raise
