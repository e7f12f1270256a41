"""The transfer of one node: one runner a blob, however many want it."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.core.swarm.swarm import Swarm
from p2p.core.swarm.times import NodeTimes
from p2p.errors import RemoraError, StoreFullError
from p2p.store.api import StoredBlob
from p2p.transfer.api import Sources
from p2p.transfer.confined import Unconfined
from p2p.transfer.intake import ClaimedSizeError
from p2p.transfer.lazy import LazyReader, is_lazy
from p2p.transfer.runner import Runner
from p2p.transfer.streams import PassingStream, StoredStream, SwarmStream, first_hand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.core.swarm.rng import Rng
    from p2p.core.swarm.settings import SwarmSettings
    from p2p.transfer.api import BlobStream, Confinement, TransferStatistics, Wanted
    from p2p.transfer.lazy import Ranges
    from p2p.transfer.parts import Parts

log = structlog.get_logger(__name__)

AHEAD = 6
"""Blobs of one image read ahead at once: no image waits until another one's layers are here."""

REMEMBERED = 256
"""Finished downloads kept for ``explain``."""


@dataclass(frozen=True, slots=True)
class Account:
    """One download, under way or over: bytes ``verified`` of ``size``, and which node gave how many."""

    digest: str
    repository: str
    size: int
    verified: int
    state: str
    error: str
    from_origin: int
    from_peers: dict[str, int]
    peers: tuple[str, ...]
    readers: int
    lease: bool
    hedges: int
    private: bool = False
    """Only private repositories reach it: it comes from the origin, and goes to no peer."""


class Engine:
    """Implements ``p2p.transfer.api.Transfer``. ``node`` is this node's id."""

    def __init__(
        self,
        parts: Parts,
        *,
        node: str,
        settings: SwarmSettings,
        rng: Rng,
        has_origin: Callable[[Repository], bool],
        confinement: Confinement | None = None,
    ) -> None:
        self._parts = parts
        self._confinement = Unconfined() if confinement is None else confinement
        self._node = node
        self._settings = settings
        self._rng = rng
        self._has_origin = has_origin
        self._runners: dict[Digest, Runner] = {}
        self._ahead: dict[Repository, trio.CapacityLimiter] = {}
        self._times = NodeTimes()
        self._lazy = LazyReader(parts)
        self._nursery: trio.Nursery | None = None
        self._history: dict[Digest, Account] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the swarms until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._parts.holdings.run)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    @asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[BlobStream]:
        """Open a reader; see ``Transfer.open``."""
        with ExitStack() as stack:
            while True:
                joined = await self._join(wanted)
                if isinstance(joined, StoredBlob):
                    try:
                        fd = stack.enter_context(self._parts.store.open(wanted.digest))
                    except KeyError:
                        continue  # its bytes went behind our back, and the store has noticed just now
                    yield StoredStream(wanted.digest, joined.size, fd)
                    return
                reader = stack.enter_context(self._reader(joined))
                try:
                    stream = await self._follow(wanted, joined, reader)
                except ClaimedSizeError as error:
                    wanted = replace(wanted, size=error.size)
                    continue
                if stream is not None:
                    stack.callback(stream.close)
                    yield stream
                    return

    async def ranges(self, wanted: Wanted, ranges: Ranges) -> list[bytes] | None:
        """Give small ranges past the swarm; see ``Transfer.ranges``."""
        parts, runner = self._parts, self._runners.get(wanted.digest)
        if not is_lazy(ranges, wanted.size) or not parts.stream or not self._has_origin(wanted.repository):
            return None
        if parts.store.find(wanted.digest) is not None or (runner is not None and _here(runner, ranges)):
            return None
        if self._lazy.worth_it(wanted, ranges) and runner is None and self._nursery is not None:
            self._nursery.start_soon(self._whole, wanted)
        return await self._lazy.read(wanted, ranges)

    async def fetch(self, wanted: Wanted, sources: Sources) -> None:
        """Get the whole blob into the store; see ``Transfer.fetch``."""
        await self._fetch_whole(wanted, sources, prefetch=True)

    async def _fetch_whole(self, wanted: Wanted, sources: Sources, *, prefetch: bool) -> None:
        while True:
            try:
                await self._fetch(wanted, sources, prefetch=prefetch)
            except ClaimedSizeError as error:
                wanted = replace(wanted, size=error.size)
            else:
                return

    async def _fetch(self, wanted: Wanted, sources: Sources, *, prefetch: bool) -> None:
        runner = await self._join(wanted)
        if isinstance(runner, StoredBlob):
            sources.cache += runner.size
            return
        runner.tally.follow(sources)
        reader = runner.join(0, 0, background=True, prefetch=prefetch)
        try:
            await runner.ended.wait()
        finally:
            runner.leave(reader)
        if not runner.stored:
            raise runner.error or RemoraError(str(wanted.digest), "the download ended early", "Try again.")

    def read_ahead(self, wanted: tuple[Wanted, ...]) -> None:
        """Start the swarms of blobs that will be asked for soon; see ``Transfer.read_ahead``."""
        for one in wanted:
            if self._nursery is not None and self._parts.store.find(one.digest) is None:
                self._nursery.start_soon(self._read_ahead, one)

    def statistics(self) -> TransferStatistics:
        """Give a live view."""
        statistics = self._parts.statistics
        statistics.swarms = len(self._runners)
        statistics.links = len(self._parts.links)
        statistics.leases_held = sum(r.swarm.turn.granted for r in self._runners.values())
        statistics.withheld = self._parts.holdings.withheld
        statistics.limits = self._parts.limits.report()
        statistics.banned = self._parts.reputation.bans(trio.current_time())
        return statistics

    def explain(self, digest: Digest) -> Account | None:
        """Tell where a blob's bytes came from: of one under way, or of the last downloads."""
        runner = self._runners.get(digest)
        return self._account(runner) if runner is not None else self._history.get(digest)

    def swarms(self) -> list[Account]:
        """Tell of every swarm under way."""
        return [self._account(runner) for runner in self._runners.values()]

    # ── inside ─────────────────────────────────────────────────────────────────────────────────────

    async def _join(self, wanted: Wanted) -> Runner | StoredBlob:
        """Join the blob's swarm, or start it, where the blob is not in the store."""
        begun = False
        while (stored := self._parts.store.find(wanted.digest)) is None:
            runner = self._runners.get(wanted.digest)
            if runner is None and begun:
                return self._start(wanted)
            if runner is None:
                await self._confinement.begin(wanted.repository, wanted.digest)
                begun = True
            elif runner.joinable:
                return runner
            else:
                await runner.gone.wait()
        return stored

    @contextmanager
    def _reader(self, runner: Runner) -> Iterator[int]:
        reader = runner.join(0, 0, background=False)
        self._parts.statistics.readers += 1
        try:
            yield reader
        finally:
            self._parts.statistics.readers -= 1
            runner.leave(reader)

    async def _follow(
        self, wanted: Wanted, runner: Runner, reader: int
    ) -> SwarmStream | PassingStream | None:
        """Give a reader's stream as soon as the size is known; None where the swarm ended meanwhile."""
        while runner.error is None and not runner.ended.is_set() and not runner.sized:
            await runner.changed()
        if isinstance(runner.error, StoreFullError) and self._has_origin(wanted.repository):
            log.warning("no room on disk: streaming from the origin", digest=str(wanted.digest))
            assert runner.layout is not None
            assert self._nursery is not None
            origin = self._parts.origin(wanted.repository)
            pacer = self._parts.limits.pacer(wanted.digest)
            return PassingStream(wanted, origin, runner.layout.size, self._nursery, pacer)
        if runner.error is not None:
            raise runner.error
        return None if runner.ended.is_set() else SwarmStream(runner, reader)

    def _start(self, wanted: Wanted) -> Runner:
        if self._nursery is None:
            raise RemoraError("node", "is shutting down", "Pull again when it is back.")
        swarm = Swarm(
            wanted.digest,
            node=self._node,
            settings=self._settings,
            rng=self._rng,
            reputation=self._parts.reputation,
            size=wanted.size,
            origin=self._has_origin(wanted.repository),
            times=self._times,
        )
        runner = self._runners[wanted.digest] = Runner(wanted, swarm, self._parts)
        self._nursery.start_soon(self._run, runner, wanted.digest in self._confinement)
        return runner

    async def _run(self, runner: Runner, confined: bool) -> None:
        digest = runner.wanted.digest
        try:
            await runner.run()
            if confined and runner.stored and runner.tally.origin:
                # No peer had a hand in it: the upstream gave it for this very repository.
                await self._confinement.proved(runner.wanted.repository, digest)
        except Exception as error:
            # One broken swarm must not take the node with it; its readers get the error.
            log.exception("swarm broke", digest=str(digest))
            runner.error = runner.error or error
        finally:
            self._runners.pop(digest, None)
            runner.gone.set()
            self._parts.statistics.hedges += runner.swarm.hedges
            self._history[digest] = self._account(runner)
            while len(self._history) > REMEMBERED:
                del self._history[next(iter(self._history))]

    async def _whole(self, wanted: Wanted) -> None:
        async with self._turn_ahead(wanted.repository):
            try:
                await self._fetch_whole(wanted, Sources(), prefetch=False)
            except RemoraError as error:
                log.info(
                    "blob not fetched beside its lazy readers", digest=str(wanted.digest), cause=str(error)
                )

    async def _read_ahead(self, wanted: Wanted) -> None:
        async with self._turn_ahead(wanted.repository):
            if self._nursery is None:
                return
            try:
                joined = await self._join(wanted)
            except RemoraError as error:
                log.warning("blob not read ahead", digest=str(wanted.digest), cause=str(error))
                return
            if isinstance(joined, Runner):
                await joined.ended.wait()

    @asynccontextmanager
    async def _turn_ahead(self, repository: Repository) -> AsyncIterator[None]:
        """Wait for a turn to read a blob ahead."""
        turns = self._ahead.setdefault(repository, trio.CapacityLimiter(AHEAD))
        try:
            async with turns:
                yield
        finally:
            if not turns.borrowed_tokens and not turns.statistics().tasks_waiting:
                self._ahead.pop(repository, None)

    def _account(self, runner: Runner) -> Account:
        return replace(_account(runner), private=runner.wanted.digest in self._confinement)


def _here(runner: Runner, ranges: Ranges) -> bool:
    """Whether a reader of the swarm gets these ranges at once."""
    layout = runner.layout
    return layout is not None and all(
        (runner.proven or first_hand(runner, stop))
        and all(map(runner.readable, range(start // layout.chunk, -(-stop // layout.chunk))))
        for start, stop in ranges
    )


def _account(runner: Runner) -> Account:
    swarm, layout = runner.swarm, runner.layout
    size = layout.size if layout is not None else 0
    verified = (
        sum(layout.length(i) for i in swarm.have) if layout is not None and swarm.have is not None else 0
    )
    return Account(
        digest=str(runner.wanted.digest),
        repository=str(runner.wanted.repository),
        size=size,
        verified=verified,
        state="complete" if runner.proven else "failed" if runner.error is not None else "under way",
        error=str(runner.error) if runner.error is not None else "",
        from_origin=runner.tally.origin,
        from_peers=dict(runner.tally.peers),
        peers=tuple(swarm.peers),
        readers=runner.readers,
        lease=swarm.turn.granted,
        hedges=swarm.hedges,
    )
