"""Whose turn it is at the origin: the lease as one swarm sees it, retries, and giving up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev

if TYPE_CHECKING:
    from p2p.core.swarm.herald import Streams
    from p2p.core.swarm.swarm import Swarm

ATTEMPTS = 3
"""Failures in a row, without a byte of progress between them, after which the origin is given up."""

FIRST_RETRY = 0.2

HOLES = 2
"""Range requests for single chunks under way at the origin at once."""

HOLE_RUN = 4

AHEAD = 16
"""Chunks that peers have and a stream without a lease lacks, more than which it stops for: that much is not
what another stream left behind that stopped for this one."""

CATCH_UP = 1.0
"""Seconds without a new chunk after which a claim without a tracker no longer relies on its peers."""


class OriginTurn:
    """The lease and the stream. ``epoch`` 0: no tracker keeps it."""

    def __init__(self, streams: Streams, *, allowed: bool) -> None:
        self.streams = streams
        self.allowed = allowed
        self.granted = False
        self.exclusive = False
        self.impatient = False
        self.held_elsewhere = False
        self.streaming = False
        self.epoch = 0
        self.retry_at: float | None = None
        self._look_at: float | None = None
        self.given_up: Exception | None = None
        self._attempts = 0
        self._first = 0
        self._distrust = False
        self._offset = 0
        self.starves = False
        """Whether discovery was asked last because nothing came from those who claim to have everything."""
        self.alone = False
        """Whether the lease was granted for that: they are not counted on."""

    @property
    def possible(self) -> bool:
        """Whether this node may come to ask the origin."""
        return self.allowed and self.given_up is None

    @property
    def engaged(self) -> bool:
        """Whether what peers hold has to do with the origin: it is ours to ask, or streams are told of."""
        return self.granted or self.streams.known

    @property
    def busy(self) -> bool:
        """Whether the origin is being asked, or will be: nothing else need be done to get on."""
        return self.streaming or (self.granted and self.retry_at is not None)

    @property
    def deadline(self) -> float | None:
        """When the next try at the origin is due, or the next look whether those ahead get on."""
        if not self.granted or self.streaming:
            return self.streams.next_at()
        return self.retry_at if self.retry_at is not None else self._look_at

    def planned(self, event: ev.Planned, out: list[act.Action]) -> None:
        """Take what discovery says of the lease."""
        match event.lease:
            case ev.LeaseState.GRANTED if self.allowed:
                if event.exclusive:
                    self.alone |= self.starves
                self.granted, self.held_elsewhere = True, False
                self.epoch, self.exclusive, self.impatient = event.epoch, event.exclusive, False
                self.given_up = None
            case ev.LeaseState.HELD:
                self.held_elsewhere = True
                if event.exclusive and self.granted and not self.impatient:
                    # A tracker's word ends a claim that was made, or a lease that was had, without it.
                    self.lost(self.epoch, out)
            case ev.LeaseState.NONE:
                self.held_elsewhere = False
            case _:
                pass

    def claim(self, now: float) -> None:
        """Go to the origin, without a lease if need be: everybody else has had time enough."""
        if not self.granted:
            self.granted = self.impatient = True
            self.epoch = 0
        self.exclusive = self._distrust = True
        self.retry_at = now

    def lost(self, epoch: int, out: list[act.Action]) -> None:
        """Another node has the lease now."""
        if self.granted and epoch == self.epoch:
            self.granted = self.alone = False
            self.held_elsewhere = True
            if self.streaming:
                self.streaming = False
                out.append(act.CloseOrigin(epoch, done=False))

    def progressed(self) -> None:
        """Bytes came: earlier failures no longer count."""
        self._attempts = 0
        self._distrust = False

    def read(self, size: int, out: list[act.Action]) -> None:
        """``size`` bytes came that were asked for by range: they keep the lease as a stream's do."""
        self._offset += size
        if self.epoch:
            out.append(act.KeepLease(self.epoch, self._offset))

    def failed(self, event: ev.OriginFailed, now: float, out: list[act.Action]) -> None:
        """A stream or a range request failed: try again, or give up and let others try."""
        self.streaming = False
        self._attempts += 1
        if event.final or self._attempts >= ATTEMPTS or event.retry_after > 2:
            self.given_up = event.error
            if self.granted:
                out.append(act.CloseOrigin(self.epoch, done=False))
            self.granted = self.alone = False
            self.retry_at = None
        else:
            self.retry_at = now + max(event.retry_after, FIRST_RETRY * 2 ** (self._attempts - 1))

    def take(self, swarm: Swarm, now: float) -> None:
        """Go to the origin where it is our turn, and tell others who streams where no tracker knows it."""
        self._take(swarm, now)
        self.streams.own = self.streaming and not self.exclusive
        swarm.out.extend(self.streams.tell(now))

    def _take(self, swarm: Swarm, now: float) -> None:
        """Open the stream, or ask for single chunks that no peer has."""
        if not self.granted or (self.retry_at is not None and now < self.retry_at):
            return
        self.retry_at = self._look_at = None
        if not self.exclusive and self._follows(swarm, now):
            return
        layout, have = swarm.layout, swarm.have
        if layout is None:
            if not self.streaming:
                self._open(swarm, 0)
            return
        if have is None:
            return
        if not self.streaming:
            if not swarm.settings.links:
                self._open(swarm, have.prefix())
                return
            if layout.count == 1 or not swarm.lists.adopted.full(layout.count):
                self._open(swarm, swarm.lists.adopted.length)
                return
        self._fill_holes(swarm, now)

    def _follows(self, swarm: Swarm, now: float) -> bool:
        """Whether a claim without a tracker waits: of several, who is behind follows who is ahead.

        Also one that has all that its peers have, while they get on: the next chunk is on its way to them.
        """
        if self._peers_help(swarm) or self.streams.waits(now, swarm.patience.progress):
            self.interrupt(swarm.out)
        elif self.streaming or now - swarm.patience.last >= CATCH_UP or not _peers_hold(swarm):
            return False
        self._look_at = now + CATCH_UP / 2
        return True

    def ended(self) -> None:
        """The stream came to its end."""
        self.streaming = False

    def finish(self, out: list[act.Action]) -> None:
        """Every link holds."""
        if self.streaming and not self.exclusive:
            out.append(self.streams.last())
        if self.granted or self.streaming:
            out.append(act.CloseOrigin(self.epoch, done=True))
        self.granted = self.streaming = self.alone = False

    def interrupt(self, out: list[act.Action]) -> None:
        """Stop the stream, and keep the lease: it goes on under another list."""
        if self.streaming:
            self.streaming = False
            out.append(act.CloseOrigin(0, done=False))

    def abandon(self, out: list[act.Action]) -> None:
        """The swarm ends without the blob."""
        if self.granted or self.streaming:
            out.append(act.CloseOrigin(self.epoch, done=False))
        self.granted = self.streaming = self.alone = False

    def _open(self, swarm: Swarm, first: int) -> None:
        self.streaming = True
        self._first = first
        swarm.emit(act.OpenOrigin(first, self.epoch))

    def _peers_help(self, swarm: Swarm) -> bool:
        """Whether a claim without a tracker can wait: a peer has something that is missing here.

        A stream goes on for a few chunks: others that stopped for it have them.
        """
        if swarm.layout is None or swarm.have is None or swarm.lists.firm:
            return False
        missing = ~swarm.have.bits & ((1 << swarm.layout.count) - 1)
        helpers = (peer for peer in swarm.peers.values() if peer.have is not None and not peer.dissent)
        few = min(AHEAD, swarm.layout.count // 2) if self.streaming else 0
        return any((peer.have.bits & missing).bit_count() > few for peer in helpers if peer.have is not None)

    def _fill_holes(self, swarm: Swarm, now: float) -> None:
        assert swarm.layout is not None
        assert swarm.have is not None
        under_way = sum(1 for pending in swarm.requests.pending.values() if pending.peer == act.ORIGIN)
        offered = 0
        if not self._distrust:  # else they had time enough to keep what they promise
            for peer in swarm.peers.values():
                if not (self.alone and peer.complete):
                    offered |= swarm.offered_by(peer)
        holes = swarm.link_bits & ~swarm.have.bits & ~offered & ~swarm.requests.bits
        if self.streaming:
            holes &= (1 << self._first) - 1  # what lies behind, the stream brings
        while holes and under_way < HOLES:
            first = (holes & -holes).bit_length() - 1
            count = 1
            while count < HOLE_RUN and holes >> (first + count) & 1:
                count += 1
            holes &= ~(((1 << count) - 1) << first)
            pending = swarm.requests.add(act.ORIGIN, first, count, now)
            under_way += 1
            swarm.emit(act.Request(pending.request, None, first, count))


def _peers_hold(swarm: Swarm) -> bool:
    return any(peer.have is not None and peer.have.bits for peer in swarm.peers.values())
