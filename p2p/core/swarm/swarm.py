"""The swarm of one blob: events in, actions out; it decides whom to ask for what, and whom to believe.

A swarm begins with ``start`` and goes on with ``handle`` until ``over``. The shell
(``p2p.transfer.runner``) performs the actions and turns their results into events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.oci.digest import Digest
from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MAX_BLOB, Layout
from p2p.core.swarm.dispute import Dispute
from p2p.core.swarm.flow import Flow
from p2p.core.swarm.herald import Streams
from p2p.core.swarm.lists import Lists
from p2p.core.swarm.members import Members
from p2p.core.swarm.news import News
from p2p.core.swarm.origin import OriginTurn
from p2p.core.swarm.patience import Patience
from p2p.core.swarm.readers import Readers
from p2p.core.swarm.requests import Requests
from p2p.core.swarm.schedule import Schedule
from p2p.core.swarm.search import Search
from p2p.core.swarm.times import NodeTimes
from p2p.errors import OriginProtocolError, PeerError

if TYPE_CHECKING:
    from p2p.core.swarm.peer import Peer
    from p2p.core.swarm.reputation import Reputation
    from p2p.core.swarm.rng import Rng
    from p2p.core.swarm.settings import SwarmSettings

NOBODY = "no node holds it and it has no origin", "Check `remora status` for peers and the tracker"

DAMAGED = "the origin's content does not have this digest", "The image is damaged upstream; nothing was kept."


class Swarm:
    """One blob being gathered. ``size`` in bytes, 0: not known yet. ``origin``: this node can ask the origin.

    ``times``: how long the requests of all of this node's swarms took; None: there are no others.
    """

    def __init__(
        self,
        digest: Digest,
        *,
        node: str,
        settings: SwarmSettings,
        rng: Rng,
        reputation: Reputation,
        size: int = 0,
        origin: bool = True,
        times: NodeTimes | None = None,
    ) -> None:
        self.digest = digest
        self.settings = settings
        known = size > 0 or Digest.of(b"", digest.algorithm) == digest
        self.layout: Layout | None = Layout(size) if known else None
        self.have: Bitfield | None = None
        self.lists = Lists(digest.algorithm, links=settings.links)
        self.requests = Requests()
        self.out: list[act.Action] = []
        self.members = Members(node, settings.peers, reputation, self.requests, self.out, settings.zone)
        self.peers = self.members.peers
        self.readers = Readers()
        self.turn = OriginTurn(Streams(node, str(digest)), allowed=origin)
        self.closed = False
        self.over = False
        self.dispute = Dispute(self)
        self.credit = 4
        self.hedges = 0
        self.flow = Flow()
        self.patience = Patience()
        self._schedule = Schedule(self, rng)
        self._search = Search(self)
        self.times = NodeTimes() if times is None else times
        self._news = News(self, self._schedule)
        self._due: float | None = None
        self._due_known = False

    # ── the three verbs ────────────────────────────────────────────────────────────────────────────

    def start(self, now: float) -> list[act.Action]:
        """Begin: open the partial where the size is known, and ask discovery."""
        self.patience.progress = now
        self.readers.lonely = None if self.readers.active else now
        if self.layout is not None:
            self.out.append(act.Prepare(self.layout.size))
        self._search.start(now)
        return self._drain()

    def handle(self, event: ev.Event, now: float) -> list[act.Action]:
        """Take an event; give what is to be done about it. Nothing more is done once ``over``."""
        if self.over:
            return []
        follows = self._take(event, now)
        if follows and not self.over:
            self._settle(now)
        if follows or self.out:
            self._due_known = False
        return self._drain()

    def next_deadline(self) -> float | None:
        """When a ``Tick`` is due, on the shell's clock."""
        if not self._due_known:
            # Asked for after every event, most of which change nothing of it.
            self._due, self._due_known = self._next_deadline(), True
        return None if self.over else self._due

    def _next_deadline(self) -> float | None:
        due = self.readers.ends(self.settings.grace)
        if self.dispute.relinking:
            return due
        for at in self._schedule.next_late(), self.turn.deadline, self.dispute.deadline, self._search.due:
            if at is not None and (due is None or at < due):
                due = at
        return due

    # ── what others may ask ────────────────────────────────────────────────────────────────────────

    @property
    def anchored(self) -> bool:
        """Whether the list can be relied on enough to drop the window of an unknown one."""
        if self.lists.own or self.layout is None or self.have is None:
            return self.lists.own
        return self.lists.adopted.full(self.layout.count) and self.layout.last in self.have

    @property
    def disputed(self) -> bool:
        """Whether peers hold different lists and none is proven: nothing goes to clients meanwhile."""
        return not self.closed and not self.lists.own and any(p.dissent for p in self.peers.values())

    def readable(self, index: int) -> bool:
        """Whether a client may have a chunk now; the last one only when every link holds."""
        if self.closed:
            return True
        if self.have is None or self.layout is None or index == self.layout.last:
            return False
        return index in self.have and not self.disputed and not self.untried

    @property
    def untried(self) -> bool:
        """Whether a full list of others was not yet held against the digest by its last link.

        The simplest lie ends there. A list that still grows can't be tried; what it let through is held
        against the proven one later.
        """
        if self.lists.own or self.layout is None or not self.settings.links:
            return False
        return self.lists.adopted.full(self.layout.count) and not self.anchored

    @property
    def feeds(self) -> bool:
        """Whether it brings in what nobody around has: each chunk is to go out once before any does twice."""
        return self.turn.streaming or self.turn.alone or self.members.lets_in

    @property
    def spread(self) -> int:
        """Chunks that others hold, as bits: of this zone where one node lets the blob in."""
        return self.members.spread(doubted=self.turn.alone)

    @property
    def link_bits(self) -> int:
        """Chunks whose link is known under the adopted list, as bits."""
        assert self.layout is not None
        return self.lists.known(self.lists.adopted.length, self.layout.count)

    def offered_by(self, peer: Peer) -> int:
        """Chunks that a peer holds and whose links it commits to, as bits."""
        have = peer.have
        if have is None or peer.dissent or peer.doubt is not None:
            return 0
        return have.bits & self.lists.known(peer.length, have.count)

    def emit(self, action: act.Action) -> None:
        """Add an action (for the policies that this swarm is made of)."""
        self.out.append(action)

    # ── events ─────────────────────────────────────────────────────────────────────────────────────

    def _take(self, event: ev.Event, now: float) -> bool:
        """Take an event in; False where it can have no consequence beyond what was done already."""
        match event:
            case ev.PeerHave() | ev.PeerMidstates():
                return self._news.take(event, now)
            case ev.ChunksTaken():
                self._chunks_taken(event, now)
            case ev.RequestFailed(request=request):
                if (pending := self.requests.end(request)) is not None:
                    self.members.failed(pending, event, now)
            case ev.RequestFlows():
                if self.requests.flows(event.request, event.received, now):
                    self.patience.flowed(now)
                return True
            case ev.RequestHeld(request=request, held=held):
                self.requests.hold(request, held, now)
                self.patience.progress = now  # our own limits let it begin, or go on: nobody is stuck
                return True
            case ev.PeerState():
                self._peer_state(event, now)
            case ev.PeerAbsent(peer=name):
                self.members.absent(name, self.layout, now)
            case ev.PeerGone(peer=name):
                self.members.drop(name, now, gone=True)
            case ev.PeerKnown():
                self.members.hinted(event, self.layout, now)
            case ev.PeerStreams():
                self.turn.streams.heard(event, now)
                return True
            case ev.Planned():
                self._planned(event, now)
            case ev.LeaseLost(epoch=epoch):
                self.turn.lost(epoch, self.out)
            case ev.Prepared():
                self._prepared(event, now)
            case ev.Relinked(have=have):
                assert self.layout is not None
                self.have = Bitfield.from_bytes(self.layout.count, have)
                self.dispute.relinking = False
                self.out.append(act.Adopt(self.lists.adopted))  # it may have grown meanwhile
                self.patience.hope = now
            case ev.ReaderJoined() | ev.ReaderMoved() | ev.ReaderLeft():
                self.readers.handle(event, now)
            case ev.OriginOpened(size=size):
                self._sized(size)
                self.patience.progress = now
            case ev.OriginAppended():
                self._origin_appended(event, now)
            case ev.OriginMismatch():
                self.turn.ended()
                self.dispute.contradicted()
            case ev.OriginFailed():
                self._origin_failed(event, now)
            case ev.StoreFailed(error=error):
                self._fail(error)
            case ev.Tick():
                pass
        self._schedule.changed()
        return True

    def _planned(self, event: ev.Planned, now: float) -> None:
        if event.size and self.layout is None:
            self._sized(event.size)
        self.turn.planned(event, self.out)
        self.members.guided = event.exclusive
        stuck, found = self.patience.stalled(now), event.route == "dht"
        self.members.planned(event.providers, self.layout, now, stuck=stuck, found=found)

    def _sized(self, size: int) -> None:
        if self.layout is None and size <= MAX_BLOB:
            self.layout = Layout(size)
            self.out.append(act.Prepare(size))

    def _prepared(self, event: ev.Prepared, now: float) -> None:
        assert self.layout is not None
        self.have = Bitfield.from_bytes(self.layout.count, event.have)
        if self.lists.resume(event.midstates, self.peers.values()):
            self.out.append(act.Adopt(self.lists.adopted))
        if self.have.bits:
            self.out.append(act.Advance(tuple(self.have)))
        self.patience.progress = now

    def _peer_state(self, event: ev.PeerState, now: float) -> None:
        if event.size > MAX_BLOB:
            self.members.drop(event.peer, now, reason=f"claims a size of {event.size} bytes")
        elif self.layout is None and event.size and event.peer in self.peers:
            self._sized(event.size)
        if self.layout is not None:
            self.members.state(event, self.layout, now)

    def _chunks_taken(self, event: ev.ChunksTaken, now: float) -> None:
        pending = self.requests.pending.get(event.request)
        if pending is None or self.layout is None or self.have is None:
            return
        peer = self.peers.get(pending.peer)
        self.requests.taken(event.request, len(event.held))
        fresh: list[int] = []
        for index, held in enumerate(event.held, event.first):
            if held and self.have.add(index):
                fresh.append(index)
            elif not held:
                self.dispute.refused(peer, index, now)
                if self.dispute.relinking or self.over:
                    return
        if event.last and self.requests.end(event.request) is not None:
            self.requests.timed(event.seconds, pending.count)
            size = self.layout.length(pending.first, pending.count)
            if peer is not None:
                peer.requests -= 1
                peer.measured(size, event.seconds)
            elif pending.peer == act.ORIGIN:
                self.turn.read(size, self.out)
        if not fresh:
            return
        if peer is not None:
            peer.chunks += len(fresh)
            peer.unmet = peer.overtaken = peer.refused = 0
        self.credit += len(fresh)
        self.flow.add(self.layout.length(event.first, len(event.held)), now)
        self.patience.gained(now)
        self.turn.progressed()
        self.out.append(act.Advance(tuple(fresh)))
        for pending in self.requests.needless(fresh, self.have):
            self.members.overtaken(pending, now)

    # ── the origin ─────────────────────────────────────────────────────────────────────────────────

    def _origin_appended(self, event: ev.OriginAppended, now: float) -> None:
        if self.have is None:
            return
        self.lists.appended(event.midstates)
        fresh = tuple(i for i in range(event.first, event.first + event.count) if self.have.add(i))
        self.patience.progress = now
        self.turn.progressed()
        self.lists.compare_again(self.peers.values())
        for pending in self.requests.needless(fresh, self.have):
            self.members.cancel(pending.request)
        if fresh:
            self.out.append(act.Advance(fresh))

    def nobody(self) -> None:
        """There is nobody, and nothing, that it could be had from."""
        self._fail(self.turn.given_up or PeerError(str(self.digest), *NOBODY))

    def damaged(self) -> None:
        """The origin's bytes, from the first one on, do not have the digest."""
        self._fail(OriginProtocolError(str(self.digest), *DAMAGED), discard=True)

    def _origin_failed(self, event: ev.OriginFailed, now: float) -> None:
        self.turn.failed(event, now, self.out)
        held = self.have.bits if self.have is not None else 0
        if self.turn.given_up is not None and not self.turn.held_elsewhere and not self.members.offer(held):
            self._fail(self.turn.given_up)

    # ── after every event ──────────────────────────────────────────────────────────────────────────

    def _settle(self, now: float) -> None:
        if self.have is not None and self.have.complete and self._close_if_whole():
            return
        if self.readers.expired(self.settings.grace, now):
            self._end(act.Dissolve())
            return
        if self.dispute.relinking or self.dispute.settle(now):
            return
        if self.have is not None:
            self._schedule.ask(now)
        self.turn.take(self, now)
        self._search.settle(now)

    def _close_if_whole(self) -> bool:
        links = self.settings.links
        if self.closed or self.layout is None or (links and not self.lists.adopted.full(self.layout.count)):
            return False
        self.closed = self.over = True
        self.members.cancel_all()
        self.turn.finish(self.out)
        self.members.accuse_false(self.lists.adopted)
        self.members.unlink_all("complete")
        self.out.append(act.Finish())
        return True

    def _fail(self, error: Exception, *, discard: bool = False) -> None:
        self.members.unlink_all("the swarm failed")
        self.members.cancel_all()
        self._end(act.Fail(error, discard))

    def _end(self, action: act.Action) -> None:
        self.members.unlink_all("nobody reads it")
        self.turn.abandon(self.out)
        self.over = True
        self.out.append(action)

    def _drain(self) -> list[act.Action]:
        if not self.out:
            return []
        out = self.out.copy()
        self.out.clear()
        return out
