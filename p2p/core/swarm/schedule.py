"""Which peer is asked for which chunks, and who is asked again when an answer is late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm.picker import pick, run_from

if TYPE_CHECKING:
    from p2p.core.swarm.peer import Peer
    from p2p.core.swarm.requests import Pending
    from p2p.core.swarm.rng import Rng
    from p2p.core.swarm.swarm import Swarm

ENDGAME = 4
"""With so few chunks left, each is asked of a second peer when it is half as late as otherwise."""

LATE_AGAIN = 0.25


class Schedule:
    """The request policy of one swarm."""

    def __init__(self, swarm: Swarm, rng: Rng) -> None:
        self._swarm = swarm
        self._rng = rng

    def ask(self, now: float) -> None:
        """Fill every peer's window with requests, the least busy first; then hedge what is late."""
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        missing = ~swarm.have.bits & ((1 << swarm.layout.count) - 1)
        wanted = missing & swarm.link_bits & ~swarm.requests.bits
        if wanted:
            self._fill(wanted, now)
        self._hedge(missing.bit_count() <= ENDGAME, now)

    def next_late(self) -> float | None:
        """When the next request counts as late."""
        pending = self._swarm.requests.pending.values()
        return min((p.late_at for p in pending if p.peer != act.ORIGIN), default=None)

    def _fill(self, wanted: int, now: float) -> None:
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        layout = swarm.layout
        demand = swarm.readers.demand(layout, swarm.have.bits)
        urgent = demand.urgent
        if swarm.settings.links and not swarm.anchored and swarm.lists.adopted.full(layout.count):
            # The last link anchors the list and proves the size: early, before much rests on them.
            urgent |= 1 << layout.last
        wanted &= demand.window | urgent
        most = max(1, swarm.settings.run // layout.chunk)
        waiting = bool(urgent) and not len(swarm.have)
        room = self._room()
        for peer in sorted(swarm.peers.values(), key=lambda p: (p.requests, -p.rate)):
            offered = swarm.offered_by(peer)
            window = peer.window(most * layout.chunk)
            while wanted & offered and peer.requests < window and room > 0:
                choice = wanted & offered
                first = pick(choice, urgent, swarm.members.rarity, self._rng)
                # The first byte is awaited: one chunk alone arrives and is verified soonest.
                limit = 1 if waiting and urgent >> first & 1 else min(most, room)
                count = run_from(first, choice, limit)
                self._request(peer, first, count, now)
                wanted &= ~(((1 << count) - 1) << first)
                room -= count

    def _room(self) -> int:
        """Chunks that may be under way: without bound under an anchored list, else a growing window."""
        swarm = self._swarm
        if swarm.anchored or not swarm.settings.links:
            return 1 << 30
        return swarm.credit - swarm.requests.bits.bit_count()

    def _request(self, peer: Peer, first: int, count: int, now: float) -> Pending:
        pending = self._swarm.requests.add(peer.provider.node, first, count, now)
        peer.requests += 1
        self._swarm.emit(act.Request(pending.request, peer.provider, first, count))
        return pending

    def _hedge(self, endgame: bool, now: float) -> None:
        swarm = self._swarm
        for pending in list(swarm.requests.pending.values()):
            late_at = pending.late_at
            if endgame:
                late_at = (pending.sent + late_at) / 2
            if now < late_at or pending.peer == act.ORIGIN:
                continue
            pending.late_at = now + LATE_AGAIN
            chunks = pending.missing
            if not chunks or any(len(swarm.requests.by_chunk[i]) > 1 for i in chunks):
                continue
            bits = sum(1 << i for i in chunks)
            for peer in sorted(swarm.peers.values(), key=lambda p: (p.requests, -p.rate)):
                if peer.provider.node != pending.peer and swarm.offered_by(peer) & bits == bits:
                    self._request(peer, chunks.start, len(chunks), now)
                    swarm.hedges += 1
                    break
