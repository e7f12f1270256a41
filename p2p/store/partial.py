"""A blob that is not yet complete: which chunks it has, under which list, and what may happen at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import trio

from p2p.core.swarm.bitfield import Bitfield, iter_bits
from p2p.core.swarm.midstates import Midstates
from p2p.errors import VerificationError
from p2p.store.gate import Gate
from p2p.store.scrub import rehash

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2p.core.oci.digest import Digest
    from p2p.store.api import StoredBlob
    from p2p.store.chain import Chain, Link
    from p2p.store.journal import Replay
    from p2p.store.partial_file import PartialFile
    from p2p.store.workers import Workers


class Owner(Protocol):
    """The store, as its partial blobs see it."""

    def grew(self, partial: GrowingBlob) -> None:
        """Chunks were written."""
        ...

    def moving(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Wait until nobody moves files of this digest, and keep others from it."""
        ...

    def present(self, digest: Digest) -> StoredBlob | None:
        """Give the complete blob, where an upload of it was finished meanwhile."""
        ...

    def completed(self, partial: GrowingBlob) -> StoredBlob:
        """It is a complete blob now."""
        ...

    def let_go(self, partial: GrowingBlob) -> None:
        """Nobody has it open any more; ``partial.gone`` tells whether anything is left of it."""
        ...


class GrowingBlob:
    """``Partial`` over a ``PartialFile``. All state is the loop's; threads get copies and give answers.

    Three things are known of a chunk: *written* (verified once, its bytes are on disk), and among these
    *held* (its link is known in the adopted list and its bytes hold under it). A list that falls takes
    chunks from *held*, never from *written*; they are linked again as soon as a list reaches them.

    Without libcrypto chunks are taken as they come, the list stays empty, and ``commit`` hashes all.
    """

    def __init__(
        self, chain: Chain, file: PartialFile, workers: Workers, owner: Owner, *, paranoid: bool
    ) -> None:
        self.digest = chain.digest
        self.layout = chain.layout
        self._chain = chain
        self._file = file
        self._workers = workers
        self._owner = owner
        self._paranoid = paranoid
        self._gate = Gate()
        self._midstates = Midstates(self.digest.algorithm)
        self._written = Bitfield(self.layout.count)
        self._have = Bitfield(self.layout.count)
        self._asked: dict[int, Link] = {}
        self._epoch = 0
        self._appending = False
        self._writing = 0
        self._written_some = trio.lowlevel.ParkingLot()
        self._open = True
        self._committed = False

    @property
    def have(self) -> Bitfield:
        """Verified chunks."""
        return self._have

    @property
    def midstates(self) -> Midstates:
        """The adopted list."""
        return self._midstates

    @property
    def fd(self) -> int:
        """Descriptor of the data file."""
        return self._file.fd

    @property
    def gone(self) -> bool:
        """Whether nothing is left to resume: complete or discarded."""
        return self._file.gone

    @property
    def written_bytes(self) -> int:
        """About how many bytes are on disk."""
        return min(self.layout.size, len(self._written) * self.layout.chunk)

    async def restore(self, replay: Replay) -> None:
        """Take what a journal says and verify it against the bytes on disk. Once, before anything else."""
        if self._chain.linked:
            self._midstates = replay.midstates
        self._written = replay.written.copy()
        await self._recheck()

    def adopt(self, midstates: Midstates) -> None:
        """Take a list that extends the adopted one."""
        if not self._chain.linked:
            return
        self._fits(midstates)
        if not midstates.agrees(self._midstates):
            raise ValueError(f"this list does not extend the one adopted for {self.digest}")
        if midstates.length > self._midstates.length:
            # Not where an append went further meanwhile, of which the caller has yet to hear.
            self._midstates = midstates

    async def write(self, first: int, data: memoryview) -> Sequence[bool]:
        """Verify consecutive chunks and write those that hold."""
        async with self._gate.shared():
            self._ready()
            pieces = self._chain.cut(first, data)
            async with self._only_writer(first, len(pieces)):
                base = self._midstates
                links = [self._link(base, index) for index in range(first, first + len(pieces))]
                held = self._held(first, len(pieces))
                take = self._file.take
                answers = await self._workers.hash(str(self.digest), take, links, pieces, held, base)
                self._enter([link for link, holds in zip(links, answers, strict=True) if holds])
            await self._recheck(limit=len(pieces))
        return answers

    async def append(self, first: int, data: memoryview) -> bool:
        """Hash chunks that follow the list's end, write them, and extend the list."""
        if self._appending:
            raise RuntimeError(f"two streams append to {self.digest} at once")
        self._appending = True
        try:
            async with self._gate.shared():
                return await self._extend(first, data)
        finally:
            self._appending = False

    async def relink(self, midstates: Midstates) -> None:
        """Change the list, and verify the bytes on disk again where the links differ."""
        if not self._chain.linked:
            return
        self._fits(midstates)
        self._epoch += 1
        self._switch(midstates)
        async with self._gate.alone():
            self._ready()
            await self._recheck()
            await self._workers.disk(str(self.digest), self._file.record, self._midstates, exact=True)

    async def commit(self) -> StoredBlob:
        """Make it a complete blob."""
        async with self._gate.alone():
            self._ready()
            if not self._have.complete or not (
                self._midstates.full(self.layout.count) or not self._chain.linked
            ):
                held = f"{len(self._have)} of {self.layout.count} chunks hold"
                raise VerificationError(str(self.digest), f"is not whole: {held}")
            await self._prove()
            async with self._owner.moving(self.digest):
                stored = self._owner.present(self.digest)
                if stored is not None:
                    await self._workers.disk(str(self.digest), self._file.delete)
                    self._committed = True
                    return stored
                await self._workers.disk(str(self.digest), self._file.seal, self._midstates)
                self._committed = True
                return self._owner.completed(self)

    async def close(self) -> None:
        """Write the journal and let go."""
        with trio.CancelScope(shield=True):
            async with self._gate.alone():
                if not self._open:
                    return
                self._open = False
                try:
                    if not self.gone and self._owner.present(self.digest) is not None:
                        await self._workers.disk(str(self.digest), self._file.delete)
                    elif not self.gone:
                        record = self._file.record
                        await self._workers.disk(str(self.digest), record, self._midstates, exact=True)
                finally:
                    self._let_go()

    async def discard(self) -> None:
        """Let go and delete; after ``commit`` it only lets go."""
        with trio.CancelScope(shield=True):
            async with self._gate.alone():
                if not self._open:
                    return
                self._open = False
                try:
                    if not self.gone:
                        await self._workers.disk(str(self.digest), self._file.delete)
                finally:
                    self._let_go()

    def _let_go(self) -> None:
        self._file.close()
        if not self._committed:
            self._owner.let_go(self)

    def _ready(self) -> None:
        if not self._open or self.gone:
            raise RuntimeError(f"the partial blob {self.digest} is closed")
        self._workers.check(str(self.digest))

    def _fits(self, midstates: Midstates) -> None:
        if midstates.algorithm != self.digest.algorithm or midstates.length >= self.layout.count:
            raise ValueError(f"a list of {midstates.length} states can't be one of {self.digest}")

    def _link(self, midstates: Midstates, index: int) -> Link:
        link = self._chain.link(midstates, index)
        if link is None:
            raise ValueError(
                f"the link of chunk {index} is not known, the list has {midstates.length} states"
            )
        return link

    def _held(self, first: int, count: int) -> frozenset[int]:
        return frozenset(index for index in range(first, first + count) if index in self._have)

    async def _extend(self, first: int, data: memoryview) -> bool:
        self._ready()
        pieces = self._chain.cut(first, data)
        base, epoch = self._midstates, self._epoch
        linked = self._chain.linked
        if linked and first != base.length:
            raise ValueError(f"chunk {first} does not follow a list of {base.length} states")
        held = self._held(first, len(pieces))
        async with self._only_writer(first, len(pieces)):
            if self._epoch != epoch:
                raise ValueError(f"the list of {self.digest} was changed while chunk {first} waited")
            states = await self._workers.hash(str(self.digest), self._file.extend, first, pieces, base, held)
            if states is None:
                return False
            ours = Midstates(base.algorithm, base.states + states)
            if linked and self._epoch == epoch:
                if not ours.agrees(self._midstates):
                    # A list adopted meanwhile says otherwise than the bytes that we hashed ourselves.
                    self._switch(ours)
                elif ours.length > self._midstates.length:
                    self._midstates = ours
            self._enter([self._link(ours, index) for index in range(first, first + len(pieces))])
        await self._recheck(limit=len(pieces))
        return True

    @asynccontextmanager
    async def _only_writer(self, first: int, count: int) -> AsyncIterator[None]:
        """Be the only one who writes these chunks.

        Of two threads, under lists that disagree, the one whose list fell could else write last.
        """
        chunks = ((1 << count) - 1) << first
        while self._writing & chunks:
            await self._written_some.park()
        self._writing |= chunks
        try:
            yield
        finally:
            self._writing &= ~chunks
            self._written_some.unpark_all()

    def _enter(self, links: Sequence[Link]) -> None:
        """Note chunks that were written, and those as held whose link is still the one they hold under."""
        for link in links:
            self._written.add(link.index)
            self._asked.pop(link.index, None)
            if self._chain.link(self._midstates, link.index) == link:
                self._have.add(link.index)
        self._owner.grew(self)

    def _switch(self, midstates: Midstates) -> None:
        old, self._midstates = self._midstates, midstates
        link = self._chain.link
        self._have = Bitfield(
            self.layout.count, (i for i in self._have if link(old, i) == link(midstates, i) is not None)
        )

    async def _recheck(self, limit: int | None = None) -> None:
        """Verify chunks that are written but not held and whose link is known; at most ``limit`` of them."""
        loose = self._written.bits & ~self._have.bits
        if not loose:
            return
        links = list(islice(self._open_questions(loose), limit))
        self._asked.update((link.index, link) for link in links)
        source = iter(links)
        async with trio.open_nursery() as nursery:
            for _ in range(min(self._workers.threads, len(links))):
                nursery.start_soon(self._recheck_some, source)

    def _open_questions(self, loose: int) -> Iterator[Link]:
        """Yield known links of loose chunks that were not yet tried, or are just being tried."""
        for index in iter_bits(loose):
            link = self._chain.link(self._midstates, index)
            if link is not None and self._asked.get(index) != link:
                yield link

    async def _recheck_some(self, source: Iterator[Link]) -> None:
        buffer = memoryview(bytearray(self.layout.chunk))
        for link in source:
            if await self._workers.hash(str(self.digest), self._file.holds, link, buffer):
                self._enter([link])

    async def _prove(self) -> None:
        """Hash all of it where the links don't say enough. VerificationError where the digest differs."""
        if not self._paranoid and (self._chain.linked or self._file.proven):
            return
        found = await rehash(self._workers, self._file.files, self._chain, self.fd, cold=self._paranoid)
        if found.holds:
            return
        if self._chain.linked:
            # Every link held when it was written: the disk gave back something else. Find out where.
            self._have = Bitfield(self.layout.count)
            self._asked.clear()
            await self._recheck()
        raise VerificationError(
            str(self.digest), "the bytes on disk do not have this digest", "It has to be fetched again."
        )
