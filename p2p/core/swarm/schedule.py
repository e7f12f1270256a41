"""Which peer is asked for which chunks, and who is asked again when an answer is late."""

from __future__ import annotations

from math import inf
from statistics import median
from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.picker import pick, run_from

if TYPE_CHECKING:
    from p2p.core.swarm.peer import Peer
    from p2p.core.swarm.requests import Pending
    from p2p.core.swarm.rng import Rng
    from p2p.core.swarm.swarm import Swarm

ENDGAME = 4
"""With so few chunks left, each is asked of a second peer when it is half as late as otherwise."""

LATE_AGAIN = 0.25

FEW = 4
"""With so few peers each is asked for as much as it can give; with more, no more is asked than is needed."""

WORK = 4 * MIB
"""What one request asks for where there are many peers, unless a chunk is larger."""

DEPTH = 8
"""Such requests under way at least; see ``Schedule._depth``."""

DRIP_SECONDS = 5.0
DRIP_SHARE = 0.1

FAR_AT_ONCE = 4
"""Requests under way to peers of other zones, together: what is dropped of them has crossed in vain."""

FAR_LATE = 3.0
"""Seconds before one that is late there is asked of another one there: twice across is to be rare."""

MOST_REQUESTS = 6
"""To one peer at once, hedges included."""


class Schedule:
    """The request policy of one swarm."""

    def __init__(self, swarm: Swarm, rng: Rng) -> None:
        self._swarm = swarm
        self._rng = rng
        self._all = True
        self._news: dict[str, None] = {}
        self._product = -1.0
        self._chunks = 1
        """Chunks that may be under way, for bandwidth × delay ``_product``."""

    def changed(self) -> None:
        """Anything may be asked of anybody."""
        self._all = True

    def news(self, name: str) -> None:
        """One peer has more to offer; nothing else has changed since the last ``ask``."""
        self._news[name] = None

    def heard(self, name: str, now: float) -> bool:
        """Ask a peer that has more to offer than before, all else being as ``ask`` left it.

        True where that is not all that is to be done: ``ask`` then knows of the news.
        """
        swarm = self._swarm
        assert swarm.have is not None
        requests = swarm.requests
        if self._all or swarm.members.busy or now >= requests.first_late(endgame=self._endgame()):
            self._news[name] = None
            return True
        peer = swarm.peers.get(name)
        # Most news are of what is here or on its way.
        wanted = swarm.link_bits & ~(swarm.have.bits | requests.bits)
        if peer is not None and swarm.offered_by(peer) & wanted:
            room = self._room()
            # Without room, the next answer lets all be asked again.
            if room > 0:
                self._fill(wanted, room, {name: peer}, now)
        return False

    def ask(self, now: float) -> None:
        """Hedge what is late, then fill every peer's window with requests, the least busy first."""
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        members, requests = swarm.members, swarm.requests
        if members.busy and members.free(now):
            self._all = True
        if now >= requests.first_late(endgame=self._endgame()):
            self._hedge(now)
        if not self._all and not self._news:
            return
        if requests.elsewhere is None:
            requests.elsewhere = swarm.times.of(swarm.layout.chunk)
        room = self._room()
        if room > 0:
            wanted = swarm.link_bits & ~(swarm.have.bits | requests.bits)
            peers = swarm.peers
            if wanted and self._all:
                if wanted & members.rarity.available:  # after most answers nobody has more
                    self._fill(wanted, room, peers, now)
            elif wanted and self._news:
                named = [(name, peers[name]) for name in self._news if name in peers]
                # Most news are of what is here or on its way.
                if useful := {name: peer for name, peer in named if wanted & swarm.offered_by(peer)}:
                    self._fill(wanted, room, useful, now)
            # With room left, nobody had anything more; without, the next answer lets all be asked again.
            self._all = False
            self._news.clear()

    def next_late(self) -> float | None:
        """When the next request counts as late, or the next busy peer may be asked again."""
        swarm = self._swarm
        at = swarm.requests.first_late(endgame=self._endgame())
        if busy := swarm.members.busy:
            at = min(at, *busy.values())
        return None if at == inf else at

    def _endgame(self) -> bool:
        have = self._swarm.have
        return have is not None and have.count - have.size <= ENDGAME

    def _fill(self, wanted: int, room: int, peers: dict[str, Peer], now: float) -> None:
        swarm = self._swarm
        assert swarm.layout is not None
        assert swarm.have is not None
        layout = swarm.layout
        demand = swarm.readers.demand(layout, swarm.have.bits)
        urgent = demand.urgent
        # The last link anchors the list and proves the size: first, before anything rests on them.
        anchor = 1 << layout.last if swarm.untried else 0
        wanted &= demand.window | urgent | anchor
        run = swarm.settings.run
        most = max(1, (run if len(swarm.peers) <= FEW else min(run, WORK)) // layout.chunk)
        waiting = bool(urgent) and not len(swarm.have)
        share = -(-self._depth() // max(1, most * len(swarm.peers)))
        fit: list[tuple[int, Peer]] = []
        for place, peer in enumerate(peers.values()):
            # Most peers fail of the first three, which cost next to nothing.
            have = peer.have
            if peer.requests >= share or have is None or not wanted & have.bits:
                continue
            if wanted & swarm.offered_by(peer) and peer.provider.node not in swarm.members.busy:
                fit.append((place, peer))
        if not fit:
            return
        late = self._late()
        swift = 0
        for name, peer in swarm.peers.items() if late else ():
            if name not in late:
                swift |= swarm.offered_by(peer)
        far = sum(peer.far for peer in swarm.peers.values())
        near, across = self._near() if far else 0, self._across() if far else 0
        order = sorted(
            (one.provider.node in late, one.overtaken, one.requests, -one.heard, -one.rate, place, one)
            for place, one in fit
        )
        for tardy, _, _, _, _, _, peer in order:
            offered = swarm.offered_by(peer)
            if tardy:
                offered &= ~swift  # it has enough to do; others will be asked when they are free
            window = min(peer.window(most * layout.chunk), share)
            if peer.far:
                offered &= ~near
            while wanted & offered and peer.requests < window and room > 0:
                if peer.far and across >= FAR_AT_ONCE:
                    break
                across += peer.far
                choice = wanted & offered
                head, others = demand.turn(choice)
                first = pick(choice, choice & anchor or head, swarm.members.rarity, self._rng)
                # The first byte is awaited: one chunk alone arrives and is verified soonest.
                alone = (waiting and urgent >> first & 1) or anchor >> first & 1
                limit = 1 if alone else min(peer.run(layout.chunk, most), room)
                # While several readers wait, nothing is read ahead for one of them.
                count = run_from(first, choice & head if others and head >> first & 1 else choice, limit)
                self._request(peer, first, count, now)
                wanted &= ~(((1 << count) - 1) << first)
                room -= count
            if room <= 0:
                return

    def _near(self) -> int:
        """Chunks that peers of this zone offer, as bits: they cross no more."""
        bits = 0
        for peer in self._swarm.peers.values():
            if not peer.far:
                bits |= self._swarm.offered_by(peer)
        return bits

    def _across(self) -> int:
        """Requests under way to peers of other zones."""
        return sum(peer.requests for peer in self._swarm.peers.values() if peer.far)

    def _depth(self) -> int:
        """Chunks that may be under way: by bandwidth × delay, so that few wait in others' queues for long.

        A chunk that waits at one peer is not asked of another that may be free sooner. Where there are only
        a few peers, each peer's window is all that counts.
        """
        swarm = self._swarm
        assert swarm.layout is not None
        if len(swarm.peers) <= FEW:
            return 1 << 30
        # Asked several times for each chunk; between two answers it stays as it is.
        product = swarm.flow.rate * 2 * swarm.requests.swiftest
        if product != self._product:
            self._product = product
            self._chunks = max(DEPTH * WORK, int(product)) // swarm.layout.chunk or 1
        return self._chunks

    def _room(self) -> int:
        """How many more chunks may be under way; under a list that is not anchored by a growing window."""
        swarm = self._swarm
        under_way = swarm.requests.bits.bit_count()
        depth = self._depth() - under_way
        if swarm.anchored or not swarm.settings.links:
            return depth
        return min(depth, swarm.credit - under_way)

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
            if now < pending.due(endgame=endgame):
                continue
            pending.late = True
            swarm.requests.postpone(pending, now + LATE_AGAIN)
            if self._drips(pending, now):
                swarm.members.drop(pending.peer, now, reason="slow: below a tenth of the others' median")
                continue
            others = self._others(pending)
            if len(others) > 1 or not all(one.late for one in others):
                continue
            peer = self._stand_in(pending, now)
            if peer is None:
                continue
            chunks = pending.missing
            fresh = self._request(peer, chunks.start, len(chunks), now)
            swarm.hedges += 1
            if others:
                first = min(pending, others[0], key=lambda one: one.sent)
                # Where all are slow, each next one is given more time, so that one of them ends.
                swarm.requests.postpone(fresh, max(fresh.late_at, now + 2 * (now - first.sent)))
                swarm.members.give_up(first)

    def _drips(self, pending: Pending, now: float) -> bool:
        """Whether a peer is so slow that the origin is better; where there is none, slow is better."""
        swarm, elapsed = self._swarm, now - pending.sent
        assert swarm.layout is not None
        if elapsed < DRIP_SECONDS or not swarm.turn.possible:
            return False
        # Of its own side of a thin uplink: over there all are slow, and nobody here has what they have.
        far = pending.peer in swarm.peers and swarm.peers[pending.peer].far
        rates = [
            p.rate for name, p in swarm.peers.items() if p.rate and name != pending.peer and p.far is far
        ]
        size = swarm.layout.length(pending.first, pending.count)
        return len(rates) > 1 and size / elapsed < DRIP_SHARE * median(rates)

    def _others(self, pending: Pending) -> list[Pending]:
        """Give the other requests for any of the same chunks."""
        requests = self._swarm.requests
        numbers = {number: None for index in pending.missing for number in requests.by_chunk[index]}
        return [requests.pending[number] for number in numbers if number != pending.request]

    def _stand_in(self, pending: Pending, now: float) -> Peer | None:
        """Give the peer that is to be asked for what a request still misses, of this zone if there is one."""
        swarm, late = self._swarm, self._late()
        bits = sum(1 << index for index in pending.missing)
        fit = [
            peer
            for peer in swarm.peers.values()
            if bits
            and peer.provider.node not in swarm.members.busy
            and peer.requests < MOST_REQUESTS
            and peer.provider.node not in late
            and swarm.offered_by(peer) & bits == bits
            and (not peer.far or now >= pending.sent + FAR_LATE)
        ]
        return min(fit, key=lambda peer: (peer.far, peer.overtaken, peer.requests, -peer.rate), default=None)
