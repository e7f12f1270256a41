"""The swarm of one blob: events in, actions out; it decides whom to ask for what, and whom to believe.

A swarm begins with ``start`` and goes on with ``handle`` until ``over``. The shell
(``p2p.transfer.runner``) performs the actions and turns their results into events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB, Layout
from p2p.core.swarm.lists import Lists
from p2p.core.swarm.midstates import Midstates
from p2p.core.swarm.origin import OriginTurn
from p2p.core.swarm.peer import UNMET_LIMIT, Peer
from p2p.core.swarm.picker import Rarity
from p2p.core.swarm.readers import Readers
from p2p.core.swarm.requests import Requests
from p2p.core.swarm.schedule import Schedule
from p2p.errors import PeerError

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.reputation import Reputation
    from p2p.core.swarm.rng import Rng
    from p2p.core.wire.common import Provider

RETRY_PEER = 5.0
"""Seconds before a peer that failed is linked again."""

SEEK_EVERY = 0.5
"""Least seconds between two questions to discovery."""

STALL = 2.0
"""Seconds without progress before discovery is asked again, with those that failed us named."""

PATIENCE = 12.0
"""Seconds without progress before the origin is asked without a lease: nobody waits for ever."""


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """``peers`` linked at most; ``grace`` seconds without readers before it ends.

    ``links``: chunks can be verified one by one (a libcrypto was found). ``run`` bytes: most asked with
    one request.
    """

    peers: int = 30
    grace: float = 30.0
    links: bool = True
    run: int = 4 * MIB


class Swarm:
    """One blob being gathered. ``size`` 0: not known yet. ``origin``: this node can ask the origin."""

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
    ) -> None:
        self.digest = digest
        self.node = node
        self.settings = settings
        self.reputation = reputation
        self.layout: Layout | None = Layout(size) if size else None
        self.have: Bitfield | None = None
        self.lists = Lists(digest.algorithm)
        self.peers: dict[str, Peer] = {}
        self.requests = Requests()
        self.readers = Readers()
        self.turn = OriginTurn(allowed=origin)
        self.closed = False
        self.over = False
        self.relinking = False
        self.credit = 4
        self.hedges = 0
        self.rarity = Rarity()
        self.rarity_stale = True
        self._schedule = Schedule(self, rng)
        self._failed: dict[str, float] = {}
        self._sought = float("-inf")
        self._progress = 0.0
        self._out: list[act.Action] = []

    # ── the three verbs ────────────────────────────────────────────────────────────────────────────

    def start(self, now: float) -> list[act.Action]:
        """Begin: open the partial where the size is known, and ask discovery."""
        self._progress = now
        self.readers.lonely = None if self.readers.active else now
        if self.layout is not None:
            self._out.append(act.Prepare(self.layout.size))
        self._seek(now)
        return self._drain()

    def handle(self, event: ev.Event, now: float) -> list[act.Action]:
        """Take an event; give what is to be done about it. Nothing more is done once ``over``."""
        if self.over:
            return []
        self._take(event, now)
        if not self.over:
            self._settle(now)
        return self._drain()

    def next_deadline(self) -> float | None:
        """When a ``Tick`` is due, on the shell's clock."""
        if self.over:
            return None
        times = [self.readers.ends(self.settings.grace)]
        if not self.relinking:
            times += (self._schedule.next_late(), self.turn.deadline, self._stuck_at())
        return min((at for at in times if at is not None), default=None)

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
        return index in self.have and not self.disputed

    @property
    def link_bits(self) -> int:
        """Chunks whose link is known under the adopted list, as bits."""
        assert self.layout is not None
        if not self.settings.links or self.lists.adopted.full(self.layout.count):
            return (1 << self.layout.count) - 1
        return (1 << self.lists.adopted.length) - 1

    def offered_by(self, peer: Peer) -> int:
        """Chunks that a peer holds and whose links it commits to, as bits."""
        assert self.layout is not None
        if peer.have is None or peer.dissent:
            return 0
        if not self.settings.links or peer.length == self.layout.count - 1:
            return peer.have.bits
        return peer.have.bits & ((1 << peer.length) - 1)

    def emit(self, action: act.Action) -> None:
        """Add an action (for the policies that this swarm is made of)."""
        self._out.append(action)

    # ── events ─────────────────────────────────────────────────────────────────────────────────────

    def _take(self, event: ev.Event, now: float) -> None:
        match event:
            case ev.ChunksTaken():
                self._chunks_taken(event, now)
            case ev.RequestFailed():
                self._request_failed(event, now)
            case ev.PeerHave(peer=name, chunks=chunks):
                self._peer_have(name, chunks, now)
            case ev.PeerMidstates():
                self._peer_midstates(event, now)
            case ev.PeerState():
                self._peer_state(event, now)
            case ev.PeerAbsent(peer=name):
                if name in self.peers:
                    self._peer_holds(self.peers[name], Bitfield(self.layout.count if self.layout else 1))
            case ev.PeerGone(peer=name):
                self._drop(name, now, tell=False)
            case ev.Planned():
                self._planned(event, now)
            case ev.LeaseLost(epoch=epoch):
                self.turn.lost(epoch, self._out)
            case ev.Prepared():
                self._prepared(event, now)
            case ev.Relinked(have=have):
                assert self.layout is not None
                self.have = Bitfield.from_bytes(self.layout.count, have)
                self.relinking = False
                self._progress = now
            case ev.ReaderJoined() | ev.ReaderMoved() | ev.ReaderLeft():
                self.readers.handle(event, now)
            case ev.OriginOpened(size=size):
                self._sized(size)
                self._progress = now
            case ev.OriginAppended():
                self._origin_appended(event, now)
            case ev.OriginMismatch():
                self._origin_mismatch(now)
            case ev.OriginFailed():
                self._origin_failed(event, now)
            case ev.StoreFailed(error=error):
                self._fail(error)
            case ev.Tick():
                pass

    def _planned(self, event: ev.Planned, now: float) -> None:
        if event.size and self.layout is None:
            self._sized(event.size)
        self.turn.planned(event, now)
        known = {(p.provider.host, p.provider.port) for p in self.peers.values()}
        for provider in event.providers:
            address = (provider.host, provider.port)
            if provider.node == self.node or self.reputation.banned(provider.node, now):
                continue
            peer = self.peers.get(provider.node)
            if peer is not None:
                if peer.direct and provider.complete:
                    self._peer_holds(peer, Bitfield.full(1))
                continue
            if address in known or now < self._failed.get(provider.node, 0.0):
                continue
            if len(self.peers) >= self.settings.peers:
                break
            known.add(address)
            self._meet(provider, now)

    def _meet(self, provider: Provider, now: float) -> None:
        peer = self.peers[provider.node] = Peer(provider, now)
        if self.layout is not None and self.layout.count == 1 and provider.complete:
            # One chunk needs no list and no news of progress: it is asked for at once, unlinked.
            peer.direct = peer.complete = True
            self._peer_holds(peer, Bitfield.full(1))
        else:
            self._out.append(act.Link(provider))

    def _sized(self, size: int) -> None:
        if self.layout is None:
            self.layout = Layout(size)
            self._out.append(act.Prepare(size))

    def _prepared(self, event: ev.Prepared, now: float) -> None:
        assert self.layout is not None
        self.have = Bitfield.from_bytes(self.layout.count, event.have)
        offered = self.lists.adopted
        self.lists.change(event.midstates, self.peers.values(), fell=False)
        longer = offered.length > event.midstates.length
        if self.lists.adopted is event.midstates and longer and offered.agrees(event.midstates):
            # A list that came from peers before the disk was ready goes on from there.
            self.lists.adopted, self.lists.own = offered, False
        if self.lists.adopted.length > event.midstates.length:
            self._out.append(act.Adopt(self.lists.adopted))
        if self.have.bits:
            self._out.append(act.Advance(tuple(self.have)))
        self._progress = now

    def _peer_state(self, event: ev.PeerState, now: float) -> None:
        peer = self.peers.get(event.peer)
        if peer is None:
            return
        if self.layout is None and event.size:
            self._sized(event.size)
        if self.layout is None or event.size != self.layout.size:
            # The manifest, the origin or an earlier peer says otherwise; the last link will tell. It is
            # no proof against this one.
            self._drop(event.peer, now, tell=True, reason=f"claims a size of {event.size} bytes")
            return
        count = self.layout.count
        try:
            have = Bitfield.full(count) if event.complete else Bitfield.from_bytes(count, event.have)
        except ValueError as error:
            self._accuse(peer, f"bitfield: {error}", -1, now)
            return
        peer.complete = event.complete
        self._peer_holds(peer, have)

    def _peer_holds(self, peer: Peer, have: Bitfield) -> None:
        peer.have = have
        self.rarity_stale = True

    def _peer_have(self, name: str, chunks: tuple[int, ...], now: float) -> None:
        peer = self.peers.get(name)
        if peer is None or peer.have is None:
            return
        added = 0
        for index in chunks:
            if not 0 <= index < peer.have.count:
                self._accuse(peer, f"claims chunk {index} of {peer.have.count}", -1, now)
                return
            if peer.have.add(index):
                added |= 1 << index
        self.rarity.add(added)

    def _peer_midstates(self, event: ev.PeerMidstates, now: float) -> None:
        peer = self.peers.get(event.peer)
        if peer is None or self.layout is None:
            return
        width = self.lists.adopted.width
        if event.start * width + len(event.states) > (self.layout.count - 1) * width:
            self._accuse(peer, "a midstate list longer than the blob", -1, now)
            return
        try:
            extended = self.lists.offered(peer, event.start, event.states, event.list_id)
        except ValueError as error:
            self._drop(event.peer, now, tell=True, reason=str(error))
            return
        if extended and self.have is not None and not self.relinking:
            self._out.append(act.Adopt(self.lists.adopted))
        if extended:
            self._progress = now

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
                self._refused(peer, index, now)
                if self.relinking or self.over:
                    return
        if event.last:
            self.requests.end(event.request)
            self.requests.timed(event.seconds)
            if peer is not None:
                peer.requests -= 1
                peer.measured(self.layout.length(pending.first, pending.count), event.seconds)
        if not fresh:
            return
        if peer is not None:
            peer.chunks += len(fresh)
            peer.unmet = 0
        self.credit += len(fresh)
        self._progress = now
        self.turn.progressed()
        self._out.append(act.Advance(tuple(fresh)))
        for index in fresh:
            for other in tuple(self.requests.by_chunk.get(index, ())):
                if all(i in self.have for i in self.requests.pending[other].missing):
                    self._cancel(other)

    def _refused(self, peer: Peer | None, index: int, now: float) -> None:
        """Count a chunk that failed against the list that its sender commits to.

        A peer is guilty by that alone: an honest one holds no chunk whose link does not hold. Two peers
        with the same wrong bytes prove nothing against the list, they may be one. The origin does.
        """
        if peer is not None:
            self._accuse(peer, "a chunk that fails against its own list", index, now)
        elif self.lists.own:
            self._origin_mismatch(now)
        else:
            self._list_fell(now)

    def _request_failed(self, event: ev.RequestFailed, now: float) -> None:
        pending = self.requests.end(event.request)
        if pending is None:
            return
        peer = self.peers.get(pending.peer)
        if peer is None:
            return
        peer.requests -= 1
        if event.unmet:
            peer.unmet += 1
            if peer.have is not None and not event.stalled:
                keep = peer.have.bits & ~sum(1 << i for i in pending.missing)
                self._peer_holds(peer, Bitfield.from_int(peer.have.count, keep))
        if event.stalled or not event.unmet or peer.unmet >= UNMET_LIMIT:
            self._drop(pending.peer, now, tell=True, reason=event.reason)

    # ── the origin ─────────────────────────────────────────────────────────────────────────────────

    def _origin_appended(self, event: ev.OriginAppended, now: float) -> None:
        if self.have is None:
            return
        self.lists.appended(event.midstates)
        fresh = tuple(i for i in range(event.first, event.first + event.count) if self.have.add(i))
        self._progress = now
        self.turn.progressed()
        for name in tuple(self.peers):
            peer = self.peers[name]
            if peer.dissent and peer.states is not None:
                self.lists.compare(peer, peer.states)
        if fresh:
            self._out.append(act.Advance(fresh))

    def _origin_mismatch(self, now: float) -> None:
        self.turn.streaming = False
        if self.lists.own:
            error = PeerError(
                str(self.digest),
                "the origin's content does not have this digest",
                "The image is damaged upstream; nothing was kept.",
            )
            self._out.append(act.CloseOrigin(self.turn.epoch, done=False))
            self._fail(error, discard=True)
        else:
            self._list_fell(now)

    def _origin_failed(self, event: ev.OriginFailed, now: float) -> None:
        self.turn.failed(event, now, self._out)
        if self.turn.given_up is not None and not self._hope():
            self._fail(self.turn.given_up)

    def _hope(self) -> bool:
        """Whether anybody may still supply what is missing."""
        if self.turn.held_elsewhere:
            return True
        if self.layout is None or self.have is None:
            return any(p.have is None or p.have.bits for p in self.peers.values())
        missing = ~self.have.bits & ((1 << self.layout.count) - 1)
        return any(p.have is None or p.have.bits & missing for p in self.peers.values())

    # ── peers and lists ────────────────────────────────────────────────────────────────────────────

    def _accuse(self, peer: Peer, offence: str, chunk: int, now: float) -> None:
        self._out.append(act.Accuse(peer.provider, offence, chunk))
        self._drop(peer.provider.node, now, tell=True, reason=offence)

    def _drop(self, name: str, now: float, *, tell: bool, reason: str = "") -> None:
        peer = self.peers.pop(name, None)
        if peer is None:
            return
        for request in [r.request for r in self.requests.pending.values() if r.peer == name]:
            self._cancel(request)
        if tell and not peer.direct:
            self._out.append(act.Unlink(peer.provider, reason))
        self._failed[name] = now + RETRY_PEER
        self.rarity_stale = True

    def _cancel(self, request: int) -> None:
        pending = self.requests.end(request)
        if pending is None:
            return
        peer = self.peers.get(pending.peer)
        if peer is not None:
            peer.requests -= 1
        self._out.append(act.Cancel(request))

    def _list_fell(self, now: float) -> None:
        self._change_list(fell=True)
        self._progress = now

    def _change_list(self, *, fell: bool) -> None:
        best = self.lists.best_dissent(self.peers.values())
        to = best[0] if best is not None else Midstates(self.digest.algorithm)
        if self.turn.streaming:
            self.turn.streaming = False
            self._out.append(act.CloseOrigin(0, done=False))
        for request in tuple(self.requests.pending):
            self._cancel(request)
        self.lists.change(to, self.peers.values(), fell=fell)
        self.relinking = True
        self.credit = 4
        self._out.append(act.Relink(self.lists.adopted))

    # ── after every event ──────────────────────────────────────────────────────────────────────────

    def _settle(self, now: float) -> None:
        if self._close_if_whole():
            return
        if self.readers.expired(self.settings.grace, now):
            self._end(act.Dissolve())
            return
        if self.relinking:
            return
        if self._outvoted():
            self._change_list(fell=False)
            return
        self.refresh_rarity()
        if self.have is not None:
            self._schedule.ask(now)
        self.turn.take(self, now)
        self._seek_if_stuck(now)

    def _outvoted(self) -> bool:
        """Whether another list has more peers behind it than the adopted one; where neither is proven."""
        if self.lists.own or self.have is None or self.turn.streaming:
            return False
        best = self.lists.best_dissent(self.peers.values())
        behind = sum(1 for p in self.peers.values() if not p.dissent and p.length)
        return best is not None and best[1] > behind

    def _close_if_whole(self) -> bool:
        if self.closed or self.have is None or self.layout is None or not self.have.complete:
            return False
        if self.settings.links and not self.lists.adopted.full(self.layout.count):
            return False
        self.closed = self.over = True
        for request in tuple(self.requests.pending):
            self._cancel(request)
        self.turn.finish(self._out)
        for peer in list(self.peers.values()):
            false = peer.states is not None and not peer.states.agrees(self.lists.adopted)
            if peer.dissent and peer.complete and false:
                # Whoever has the whole blob has proven its list; this one can't have.
                self._out.append(act.Accuse(peer.provider, "a false midstate list", -1))
        self._unlink_all("complete")
        self._out.append(act.Finish())
        return True

    def refresh_rarity(self) -> None:
        """Count the chunks' holders afresh where peers came, went or changed."""
        if self.rarity_stale and self.layout is not None:
            self.rarity.rebuild([p.have.bits for p in self.peers.values() if p.have is not None])
            self.rarity_stale = False

    def _seek(self, now: float) -> None:
        self._sought = now
        self._failed = {n: at for n, at in self._failed.items() if at > now}
        lease = self.turn.allowed and self.turn.given_up is None
        self._out.append(act.Seek(lease, frozenset(self._failed)))

    def _stuck_at(self) -> float | None:
        """When it is time to ask discovery again, or to lose patience."""
        if self.turn.streaming or self.turn.granted:
            return None
        if self._alone or self._sought < self._progress + STALL:
            wait = self._sought if self._alone else self._progress + STALL
        else:
            wait = self._progress + PATIENCE
        return max(wait, self._sought + SEEK_EVERY)

    @property
    def _alone(self) -> bool:
        return not self.peers and not self.turn.held_elsewhere

    def _seek_if_stuck(self, now: float) -> None:
        at = self._stuck_at()
        if at is None or now < at:
            return
        if now < self._progress + PATIENCE:
            self._seek(now)
            return
        self._progress = now
        if self.turn.allowed and self.turn.given_up is None:
            self.turn.claim(now)
            self.turn.take(self, now)
        elif not self.requests.pending:
            self._fail(self.turn.given_up or self._nobody())

    def _nobody(self) -> PeerError:
        return PeerError(
            str(self.digest),
            "no node holds it and it has no origin to come from",
            "Check `remora status` for peers and the tracker.",
        )

    def _fail(self, error: Exception, *, discard: bool = False) -> None:
        self._unlink_all("the swarm failed")
        for request in tuple(self.requests.pending):
            self._cancel(request)
        self._end(act.Fail(error, discard))

    def _unlink_all(self, reason: str) -> None:
        self._out.extend(act.Unlink(p.provider, reason) for p in self.peers.values() if not p.direct)
        self.peers.clear()

    def _end(self, action: act.Action) -> None:
        self._unlink_all("nobody reads it")
        self.turn.abandon(self._out)
        self.over = True
        self._out.append(action)

    def _drain(self) -> list[act.Action]:
        out, self._out = self._out, []
        return out
