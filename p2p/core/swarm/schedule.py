"""Which peer is asked for which chunks, and who is asked again when an answer is late."""

from __future__ import annotations

from statistics import median
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

DRIP_SECONDS = 5.0
DRIP_SHARE = 0.1

MOST_REQUESTS = 6
"""To one peer at once, hedges included."""


class Schedule:
    """The request policy of one swarm."""

    def __init__(self, swarm: Swarm, rng: Rng) -> None:
        self._swarm = swarm
        self._rng = rng

    def ask(self, now: float) -> None:
        """Hedge what is late, then fill every peer's window with requests, the least busy first."""
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        self._hedge(now)
        missing = ~swarm.have.bits & ((1 << swarm.layout.count) - 1)
        wanted = missing & swarm.link_bits & ~swarm.requests.bits
        if wanted:
            self._fill(wanted, now)

    def next_late(self) -> float | None:
        """When the next request counts as late."""
        endgame = self._endgame()
        pending = self._swarm.requests.pending.values()
        return min((_late_at(p, endgame) for p in pending if p.peer != act.ORIGIN), default=None)

    def _endgame(self) -> bool:
        have = self._swarm.have
        return have is not None and have.count - len(have) <= ENDGAME

    def _fill(self, wanted: int, now: float) -> None:
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        layout = swarm.layout
        demand = swarm.readers.demand(layout, swarm.have.bits)
        urgent = demand.urgent
        # The last link anchors the list and proves the size: first, before anything rests on them.
        anchor = 1 << layout.last if swarm.untried else 0
        wanted &= demand.window | urgent | anchor
        most = max(1, swarm.settings.run // layout.chunk)
        waiting = bool(urgent) and not len(swarm.have)
        room = self._room()
        late = self._late()
        swift = 0
        order = {name: (name in late, p.overtaken, p.requests, -p.rate) for name, p in swarm.peers.items()}
        for peer in sorted(swarm.peers.values(), key=lambda peer: order[peer.provider.node]):
            offered = swarm.offered_by(peer)
            if peer.provider.node not in late:
                swift |= offered
            else:
                offered &= ~swift  # it has enough to do; others will be asked when they are free
            window = peer.window(most * layout.chunk)
            while wanted & offered and peer.requests < window and room > 0:
                choice = wanted & offered
                first = pick(choice, choice & anchor or urgent, swarm.members.rarity, self._rng)
                # The first byte is awaited: one chunk alone arrives and is verified soonest.
                alone = (waiting and urgent >> first & 1) or anchor >> first & 1
                limit = 1 if alone else min(peer.run(layout.chunk, most), room)
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

    def _late(self) -> dict[str, None]:
        """Peers that owe an answer."""
        return {pending.peer: None for pending in self._swarm.requests.pending.values() if pending.late}

    def _hedge(self, now: float) -> None:
        """Ask another peer for what is late; of two that are late the first one is given up for a third."""
        swarm, endgame = self._swarm, self._endgame()
        for pending in list(swarm.requests.pending.values()):
            if pending.request not in swarm.requests.pending:
                continue
            if pending.peer == act.ORIGIN or now < _late_at(pending, endgame):
                continue
            pending.late, pending.late_at = True, now + LATE_AGAIN
            if self._drips(pending, now):
                swarm.members.drop(pending.peer, now, reason="slow: below a tenth of the others' median")
                continue
            others = self._others(pending)
            if len(others) > 1 or not all(one.late for one in others):
                continue
            peer = self._stand_in(pending)
            if peer is None:
                continue
            chunks = pending.missing
            fresh = self._request(peer, chunks.start, len(chunks), now)
            swarm.hedges += 1
            if others:
                first = min(pending, others[0], key=lambda one: one.sent)
                # Where all are slow, each next one is given more time, so that one of them ends.
                fresh.late_at = max(fresh.late_at, now + 2 * (now - first.sent))
                swarm.members.give_up(first)

    def _drips(self, pending: Pending, now: float) -> bool:
        """Whether a peer is so slow that the origin is better; where there is none, slow is better."""
        swarm, elapsed = self._swarm, now - pending.sent
        assert swarm.layout is not None
        if elapsed < DRIP_SECONDS or not swarm.turn.possible:
            return False
        rates = [p.rate for name, p in swarm.peers.items() if p.rate and name != pending.peer]
        size = swarm.layout.length(pending.first, pending.count)
        return len(rates) > 1 and size / elapsed < DRIP_SHARE * median(rates)

    def _others(self, pending: Pending) -> list[Pending]:
        """Give the other requests for any of the same chunks."""
        requests = self._swarm.requests
        numbers = {number: None for index in pending.missing for number in requests.by_chunk[index]}
        return [requests.pending[number] for number in numbers if number != pending.request]

    def _stand_in(self, pending: Pending) -> Peer | None:
        """Give the peer that is to be asked for what a request still misses."""
        swarm, late = self._swarm, self._late()
        bits = sum(1 << index for index in pending.missing)
        fit = [
            peer
            for peer in swarm.peers.values()
            if bits
            and peer.requests < MOST_REQUESTS
            and peer.provider.node not in late
            and swarm.offered_by(peer) & bits == bits
        ]
        return min(fit, key=lambda peer: (peer.overtaken, peer.requests, -peer.rate), default=None)


def _late_at(pending: Pending, endgame: bool) -> float:
    """When a request counts as late: in the endgame after half the time, the first time."""
    return (pending.sent + pending.late_at) / 2 if endgame and not pending.late else pending.late_at
