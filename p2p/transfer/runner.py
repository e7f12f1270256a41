"""The shell of one swarm: performs its actions and tells it what became of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.wire.common import Holding
from p2p.core.wire.peer import Streams
from p2p.errors import OriginError, PeerError, RemoraError, StoreError, VerificationError
from p2p.transfer.intake import origin_failed, stream_origin
from p2p.transfer.peek import Peeks
from p2p.transfer.taking import answer
from p2p.transfer.tally import Tally

if TYPE_CHECKING:
    from p2p.core.swarm.chunks import Layout
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.swarm import Swarm
    from p2p.store.api import Partial
    from p2p.transfer.api import Wanted
    from p2p.transfer.parts import Parts

log = structlog.get_logger(__name__)


class Runner:
    """One blob being gathered. Made, and its ``run`` started, by the engine, which also hands out readers.

    ``proven`` when every link holds; ``stored`` when the blob is in the store; ``error`` when the swarm
    failed. ``changed`` waits for any of these or for more chunks. ``ended`` when nothing more comes,
    ``gone`` when the partial blob is let go too.
    """

    def __init__(self, wanted: Wanted, swarm: Swarm, parts: Parts) -> None:
        self.wanted = wanted
        self.swarm = swarm
        self.proven = False
        self.stored = False
        self.error: Exception | None = None
        self.partial: Partial | None = None
        self.ended = trio.Event()
        self.gone = trio.Event()
        self.tally = Tally()
        self.peeks = Peeks(self, parts)
        self._parts = parts
        self._inbox: deque[ev.Event] = deque()
        self._busy = False
        self._advanced = trio.Event()
        self._rearm = trio.Event()
        self._timer_at: float | None = None
        self._prepared = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._requests: dict[int, trio.CancelScope] = {}
        self._origin: trio.CancelScope | None = None
        self._streaming = trio.Lock()
        self._feeds = False
        self._next_reader = 1
        self.readers = 0
        self._prefetches: set[int] = set()
        self.pacer = parts.limits.pacer(wanted.digest, lambda: 0 < self.readers == len(self._prefetches))
        self.size_known = wanted.size > 0
        """Whether the size is more than a peer's claim: the manifest's, or the origin's."""

    # ── for the engine and the readers ─────────────────────────────────────────────────────────────

    @property
    def layout(self) -> Layout | None:
        """The blob's chunks, once its size is known."""
        return self.swarm.layout

    @property
    def sized(self) -> bool:
        """Whether readers may be told the size: an empty blob's when proven, no byte of it is withheld.

        What a peer alone claims waits for the last chunk: the hash's padding holds the length.
        """
        if self.proven or self.layout is None or self.partial is None or not self.layout.size:
            return self.proven
        return self.size_known or (self.swarm.settings.links and self.layout.last in self.partial.have)

    @property
    def joinable(self) -> bool:
        """Whether a new reader may still come in: what has failed or was given up is begun anew."""
        return not self.ended.is_set() and (self.swarm.closed or not self.swarm.over)

    async def changed(self) -> None:
        """Wait until something changed since the call."""
        await self._advanced.wait()

    def join(self, start: int, stop: int, *, background: bool, prefetch: bool = False) -> int:
        """Enter a reader; gives its number. ``prefetch``: no client waits for it."""
        number, self._next_reader = self._next_reader, self._next_reader + 1
        self.readers += 1
        if prefetch:
            self._prefetches.add(number)
        elif self.pacer is not None:
            self.pacer.lift()
        self.post(ev.ReaderJoined(number, start, stop, background))
        return number

    def seek(self, reader: int, start: int, stop: int) -> None:
        """A reader reads another range from now on."""
        self.post(ev.ReaderJoined(reader, start, stop))

    def moved(self, reader: int, position: int) -> None:
        """A reader has taken the bytes before ``position``."""
        self.post(ev.ReaderMoved(reader, position))

    def leave(self, reader: int) -> None:
        """Take a reader out."""
        self.post(ev.ReaderLeft(reader))
        self.readers -= 1
        self._prefetches.discard(reader)

    def readable(self, index: int) -> bool:
        """Whether a client may have a chunk now."""
        if self.proven:
            return True
        return self._parts.stream and self.swarm.settings.links and self.swarm.readable(index)

    def post(self, event: ev.Event) -> None:
        """Tell the swarm of an event and perform what it answers; from the trio loop, never blocks.

        Events from before ``run`` wait for it; those that come after its end are of no use.
        """
        if self.ended.is_set():
            return
        self._inbox.append(event)
        if not self._busy and self._nursery is not None:
            self._work()

    def _work(self) -> None:
        self._busy = True
        try:
            while self._inbox:
                for action in self.swarm.handle(self._inbox.popleft(), trio.current_time()):
                    self._perform(action)
        except Exception as error:
            # The caller is a link or a way of discovery, which others need: this swarm ends alone.
            log.exception("swarm broke", digest=str(self.wanted.digest))
            self.error = self.error or error
            self.ended.set()
        finally:
            self._busy = False
        self._arm()

    async def run(self) -> None:
        """Go on until the blob is in the store, or the swarm failed or dissolved.

        The partial blob is let go at the end; readers keep descriptors of their own.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._timer)
                try:
                    for action in self.swarm.start(trio.current_time()):
                        self._perform(action)
                    self._work()
                    with self._parts.links.exchange.swarm(self.wanted.digest, self.post):
                        await self.ended.wait()
                finally:
                    self._nursery = None  # now, and not when all tasks have ended: news may come between
                    nursery.cancel_scope.cancel()
        finally:
            self.swarm.over = True
            self._leave()
            if self.partial is not None:
                with trio.CancelScope(shield=True):
                    await self.partial.close()
            if not self.proven and self.error is None:
                self.error = PeerError(str(self.wanted.digest), "the download was stopped")
            self.ended.set()
            self._wake()

    def _leave(self) -> None:
        """Tell everybody that this swarm is no more, whatever ended it."""
        digest = self.wanted.digest
        for peer in tuple(self.swarm.peers.values()):
            self._parts.links.unsubscribe(peer.provider, digest)
        self._parts.discovery.unwant(digest)
        self._parts.holdings.end(digest)
        if self.partial is not None and not self.stored:
            self._parts.discovery.announce(Holding(str(digest), 0, 0, False))

    # ── actions ────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, action: act.Action) -> None:
        if self._nursery is None:
            return
        start = self._nursery.start_soon
        digest = self.wanted.digest
        match action:
            case act.Request(request=request):
                # From here on, not when the task runs first: it may be cancelled before.
                scope = self._requests[request] = trio.CancelScope()
                start(self._request, action, scope)
            case act.Advance():
                self._advance()
            case act.Cancel(request=request):
                if request in self._requests:
                    self._requests.pop(request).cancel()
            case act.Adopt(midstates=midstates):
                self._adopt(midstates)
            case act.Link(provider=provider):
                self._parts.links.subscribe(provider, digest, lambda: self.swarm.lists.adopted, self.post)
            case act.Unlink(provider=provider):
                self._parts.links.unsubscribe(provider, digest)
            case act.Prepare(size=size):
                start(self._prepare, size)
            case act.Seek(lease=lease, unreachable=unreachable):
                size = self.layout.size if self.layout is not None else 0
                self._parts.discovery.want(digest, size, lease=lease, unreachable=unreachable, sink=self.post)
            case act.OpenOrigin(first=first, epoch=epoch):
                self._parts.statistics.leases_taken += 1
                self._origin = trio.CancelScope()
                start(self._stream, first, epoch, self._origin)
            case act.KeepLease(epoch=epoch, offset=offset):
                self._parts.leases.progress(digest, epoch, offset)
            case act.CloseOrigin(epoch=epoch, done=done):
                if self._origin is not None:
                    self._origin.cancel()
                    self._origin = None
                if epoch:
                    self._parts.leases.release(digest, epoch, done=done)
            case act.Relink(midstates=midstates):
                start(self._relink, midstates)
            case act.Accuse(provider=provider, offence=offence, chunk=chunk):
                self._parts.accuse(provider, offence, chunk, digest)
            case act.Herald(node=node, quiet=quiet, over=over):
                self._parts.links.exchange.streams(Streams(str(digest), node, quiet, over))
            case act.Finish():
                start(self._finish)
            case act.Fail(error=error, discard=discard):
                start(self._fail, error, discard)
            case act.Dissolve():
                self.ended.set()

    def _adopt(self, midstates: Midstates) -> None:
        assert self.partial is not None
        try:
            self.partial.adopt(midstates)
        except ValueError:
            # The origin's stream has just extended the list on disk otherwise than a peer extended ours;
            # the stream finds that out with its next step and has the peer's list fall.
            return
        self._parts.holdings.changed(self.wanted.digest)

    def _advance(self) -> None:
        assert self.layout is not None
        assert self.swarm.have is not None
        if (feeds := self.swarm.feeds) or self._feeds:
            self._feeds = feeds
            self._parts.holdings.seeding(self.wanted.digest, on=feeds)
            self._parts.holdings.spread(self.wanted.digest, self.swarm.spread)
        self._parts.holdings.changed(self.wanted.digest)
        held = len(self.swarm.have)
        self._parts.discovery.announce(Holding(str(self.wanted.digest), self.layout.size, held, False))
        self._wake()

    def _wake(self) -> None:
        self._advanced.set()
        self._advanced = trio.Event()

    # ── tasks ──────────────────────────────────────────────────────────────────────────────────────

    async def _prepare(self, size: int) -> None:
        try:
            partial = await self._parts.open_partial(self.wanted.digest, size)
        except (StoreError, VerificationError) as error:
            self.post(ev.StoreFailed(error))
            return
        self.partial = partial
        self.tally.kept(sum(partial.layout.length(index) for index in partial.have))
        self._prepared.set()
        self.post(ev.Prepared(partial.have.to_bytes(), partial.midstates))
        self._parts.holdings.begin(partial)
        self._wake()

    async def _request(self, action: act.Request, scope: trio.CancelScope) -> None:
        with scope:
            events = await answer(self, self._parts, action)
            await trio.lowlevel.checkpoint_if_cancelled()
            self._requests.pop(action.request, None)
            for event in events:
                self.post(event)

    async def _stream(self, first: int, epoch: int, scope: trio.CancelScope) -> None:
        # One that was cancelled may still wait for its thread.
        with scope:
            async with self._streaming:
                try:
                    event = await stream_origin(self, self._parts, first, epoch, self._prepared)
                except OriginError as error:
                    event = origin_failed(error)
                except StoreError as error:
                    event = ev.StoreFailed(error)
            await trio.lowlevel.checkpoint_if_cancelled()
            if event is not None:
                self.post(event)

    def appended(self, first: int, count: int, size: int) -> None:
        """Count chunks that the origin's stream brought, and tell the swarm."""
        assert self.partial is not None
        self._parts.statistics.chunks_verified += count
        self.tally.got(None, size)
        self._parts.holdings.spread(self.wanted.digest, self.swarm.spread)
        self.post(ev.OriginAppended(first, count, self.partial.midstates))

    async def _relink(self, midstates: Midstates) -> None:
        assert self.partial is not None
        try:
            await self.partial.relink(midstates)
        except StoreError as error:
            self.post(ev.StoreFailed(error))
            return
        self._parts.holdings.changed(self.wanted.digest)
        self.post(ev.Relinked(self.partial.have.to_bytes()))

    async def _finish(self) -> None:
        """Release the last chunk, then commit: readers need not wait for the disk."""
        assert self.partial is not None
        digest = self.wanted.digest
        links = self.swarm.settings.links
        if links:
            self.proven = True
            self._wake()
        try:
            with trio.CancelScope(shield=True):
                stored = await self.partial.commit()
        except (StoreError, VerificationError) as error:
            log.exception("blob not kept", digest=str(digest), error=str(error))
            self._parts.statistics.swarms_failed += 1
            if not links:
                self.error = error
                with trio.CancelScope(shield=True):
                    await self.partial.discard()  # nobody can tell which of its chunks are wrong
            self._wake()
            self.ended.set()
            return
        self.proven = self.stored = True
        self._parts.statistics.swarms_done += 1
        self._parts.discovery.announce(Holding(str(digest), stored.size, self.partial.layout.count, True))
        log.debug("blob complete", digest=str(digest), size=stored.size)
        self.ended.set()

    async def _fail(self, error: Exception, discard: bool) -> None:
        self.error = error
        self._parts.statistics.swarms_failed += 1
        cause = str(error) if isinstance(error, RemoraError) else repr(error)
        log.warning("download failed", digest=str(self.wanted.digest), error=cause)
        self._wake()
        self.ended.set()
        if discard and self.partial is not None:
            with trio.CancelScope(shield=True):
                await self.partial.discard()

    async def _timer(self) -> None:
        while True:
            at = self._timer_at = self.swarm.next_deadline()
            with trio.move_on_at(at if at is not None else float("inf")) as scope:
                await self._rearm.wait()
                self._rearm = trio.Event()
            if scope.cancelled_caught:
                self._timer_at = None
                self.post(ev.Tick())

    def _arm(self) -> None:
        """Wake the timer where the next deadline came nearer."""
        due = self.swarm.next_deadline()
        if due is not None and (self._timer_at is None or due < self._timer_at):
            self._rearm.set()
