"""The peers of one swarm: met through discovery, heard from over their links, dropped when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm import actions as act
from p2p.core.swarm.acquaintances import HINTS
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.peer import OVERTAKEN_LIMIT, REFUSED_LIMIT, UNMET_LIMIT, Peer
from p2p.core.swarm.picker import Rarity
from p2p.core.wire.common import Provider, apart

if TYPE_CHECKING:
    from p2p.core.swarm import events as ev
    from p2p.core.swarm.chunks import Layout
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.reputation import Reputation
    from p2p.core.swarm.requests import Pending, Requests

RETRY_PEER = 5.0
"""Seconds before a peer that failed is linked again; twice as many each time."""

MOST_RETRY = 80.0

BUSY_SECONDS = 1.0
"""A peer without a free upload slot is asked again after so long (its Retry-After); what it sends goes on."""

HINTED = "static:"
"""Begins the name of a peer that is known by its address alone, before its id is."""

IDLE = 0.1
"""Seconds for which a peer that has nothing keeps its seat from hints: crowds do not begin at one moment."""

UNPROVEN = 8
"""Hinted peers that may be linked at once before they said anything: garbage must not take all seats."""


class Members:
    """The table of peers, at most ``most``; what is to be done about them goes into ``out``."""

    def __init__(
        self,
        node: str,
        most: int,
        reputation: Reputation,
        requests: Requests,
        out: list[act.Action],
        zone: str = "",
    ) -> None:
        self._zone = zone
        self.peers: dict[str, Peer] = {}
        self.rarity = Rarity()
        self.busy: dict[str, float] = {}
        """Peers that had no upload slot free, and until when they are not asked."""
        self._node = node
        self._most = most
        self._reputation = reputation
        self._requests = requests
        self._out = out
        self._failed: dict[str, float] = {}
        self._failed_at: dict[tuple[str, int], float] = {}
        self._failures: dict[str, int] = {}
        self.guided = False
        """Whether a tracker chooses whom to meet: its plans know of budgets and zones, hints do not."""
        self._hints: dict[str, dict[tuple[str, int], None]] = {}
        """Who told → the addresses that it spoke of."""

    def unreachable(self, now: float) -> frozenset[str]:
        """Those that failed lately."""
        return frozenset(name for name, at in self._failed.items() if at > now)

    def claimants(self, since: float) -> frozenset[str]:
        """Peers that have claimed to have everything since then, or longer."""
        return frozenset(name for name, peer in self.peers.items() if peer.complete and peer.heard <= since)

    def planned(
        self,
        providers: tuple[Provider, ...],
        layout: Layout | None,
        now: float,
        *,
        stuck: bool = False,
        found: bool = False,
    ) -> None:
        """Meet the providers that are new, in their order, while there is room.

        ``found``: they said that they have or gather it, so those who don't make room for them.

        Those of other zones only as the tracker's plans say: who is not in the latest one is let go. Without
        a tracker they are met where nobody near is known, or is of help (``stuck``).
        """
        if self.guided:
            named = {provider.node for provider in providers}
            for name in [name for name, peer in self.peers.items() if peer.far and name not in named]:
                self.release(name)
        elif not stuck:
            near = tuple(provider for provider in providers if not self._far(provider))
            if near or any(not peer.far for peer in self.peers.values()):
                providers = near
        addresses = {(p.provider.host, p.provider.port) for p in self.peers.values()}
        for provider in providers:
            peer = self.peers.get(provider.node)
            address = (provider.host, provider.port)
            if peer is not None:
                if peer.direct and provider.complete:
                    self.holds(peer, Bitfield.full(1))
            elif (
                provider.node != self._node
                and address not in addresses
                and now >= self._failed.get(provider.node, 0.0)
                and not self._reputation.banned(provider.node, now)
                and self._has_room(now, found=found)
            ):
                addresses.add(address)
                self._meet(provider, layout, now)
        self._try_hints(layout, now)

    def hinted(self, event: ev.PeerKnown, layout: Layout | None, now: float) -> None:
        """A peer speaks of others: up to ``HINTS`` are tried, few at a time, in seats that are free."""
        if event.peer and event.peer not in self.peers:
            return
        told = self._hints.setdefault(event.peer, {})
        for address in event.addresses:
            if len(told) >= HINTS:
                break
            told[address] = None
        self._try_hints(layout, now)

    def _try_hints(self, layout: Layout | None, now: float) -> None:
        if self.guided or not self._hints:
            return
        addresses = {(p.provider.host, p.provider.port) for p in self.peers.values()}
        silent = (name for name, peer in self.peers.items() if peer.have is None)
        unproven = sum(name.startswith(HINTED) for name in silent)
        for told in self._hints.values():
            for address in told:
                if unproven >= UNPROVEN:
                    return
                name = f"{HINTED}{address[0]}:{address[1]}"
                failed = now < self._failed_at.get(address, 0.0) or self._reputation.banned(name, now)
                if address in addresses or name in self.peers or failed:
                    continue
                if not self._has_room(now, found=True, grace=IDLE):
                    return
                addresses.add(address)
                unproven += 1
                self._meet(Provider(name, name.removeprefix(HINTED), *address), layout, now)

    def state(self, event: ev.PeerState, layout: Layout, now: float) -> None:
        """A peer says what it holds of a blob with this layout."""
        peer = self.peers.get(event.peer)
        if peer is None:
            return
        if event.size != layout.size:
            # The manifest, the origin or an earlier peer says otherwise. The last link will tell who is
            # right; it is no proof against this one.
            self.drop(event.peer, now, reason=f"claims a size of {event.size} bytes")
            return
        try:
            have = Bitfield(layout.count) if event.complete else Bitfield.from_bytes(layout.count, event.have)
        except ValueError as error:
            self.accuse(peer, f"bitfield: {error}", -1, now)
            return
        peer.complete, peer.idle = event.complete, False
        peer.heard = now
        self.holds(peer, Bitfield.full(layout.count) if event.complete else have)
        self._try_hints(layout, now)

    def have(self, event: ev.PeerHave, now: float) -> None:
        """A peer verified more chunks."""
        peer = self.peers.get(event.peer)
        if peer is None or peer.have is None:
            return
        peer.heard = now
        told, count = 0, peer.have.count
        if event.chunks and not 0 <= (low := min(event.chunks)) <= (high := max(event.chunks)) < count:
            self.accuse(peer, f"claims chunk {low if low < 0 else high} of {count}", -1, now)
            return
        for index in event.chunks:
            told |= 1 << index
        self.rarity.add(told & ~peer.have.bits)
        peer.have.join(told)

    def absent(self, name: str, layout: Layout | None, now: float) -> None:
        """A peer holds nothing now; it will say when that changes."""
        if name in self.peers:
            self.peers[name].idle = True
            self.holds(self.peers[name], Bitfield(layout.count if layout is not None else 1))
            self._try_hints(layout, now)

    def holds(self, peer: Peer, have: Bitfield) -> None:
        """Enter what a peer holds."""
        if peer.have is not None:
            self.rarity.take(peer.have.bits)
        peer.have = have
        self.rarity.add(have.bits)

    def failed(self, pending: Pending, event: ev.RequestFailed, now: float) -> None:
        """A request to a peer failed: forget what it does not have, or leave it alone."""
        peer = self.peers.get(pending.peer)
        if peer is None:
            return
        peer.requests -= 1
        if event.busy:
            peer.refused += not peer.requests
            if peer.refused < REFUSED_LIMIT:
                self.busy[pending.peer] = now + BUSY_SECONDS
                return
        if event.unmet:
            peer.unmet += 1
            if peer.have is not None:
                lacking = sum(1 << index for index in pending.missing)
                self.holds(peer, Bitfield.from_int(peer.have.count, peer.have.bits & ~lacking))
        if event.stalled or not event.unmet or peer.unmet >= UNMET_LIMIT:
            self.drop(pending.peer, now, reason=event.reason)

    def free(self, now: float) -> bool:
        """Let busy peers be asked again whose time has come; whether there was one."""
        over = [name for name, at in self.busy.items() if now >= at] if self.busy else ()
        for name in over:
            del self.busy[name]
        return bool(over)

    def accuse(self, peer: Peer, offence: str, chunk: int, now: float) -> None:
        """A peer is guilty."""
        self._out.append(act.Accuse(peer.provider, offence, chunk))
        self.drop(peer.provider.node, now, reason=offence)

    def accuse_false(self, proven: Midstates) -> None:
        """Accuse those that claim the whole blob under a list that is not the proven one.

        Whoever has the whole blob has proven its list; theirs can't have been. One that merely follows a
        false list may be deceived itself.
        """
        for peer in self.peers.values():
            if peer.dissent and peer.vouched and peer.states is not None and not peer.states.agrees(proven):
                self._out.append(act.Accuse(peer.provider, "a false midstate list", -1))

    def drop(self, name: str, now: float, *, reason: str = "", gone: bool = False) -> None:
        """Let a peer go; ``gone``: its link has ended already."""
        self._hints.pop(name, None)
        peer = self._remove(name, reason, linked=not gone)
        if peer is None:
            return
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        again = now + min(MOST_RETRY, RETRY_PEER * 2 ** (failures - 1))
        # By its address too: what others tell of there leads to the same peer.
        self._failed[name] = self._failed_at[peer.provider.host, peer.provider.port] = again

    def release(self, name: str) -> None:
        """Let a peer go without blame: what it has is not to come from there."""
        self._remove(name, "not in the plan any more")

    def _remove(self, name: str, reason: str, *, linked: bool = True) -> Peer | None:
        peer = self.peers.pop(name, None)
        if peer is None:
            return None
        self.busy.pop(name, None)
        self.cancel_from(name)
        if linked and not peer.direct:
            self._out.append(act.Unlink(peer.provider, reason))
        if peer.have is not None:
            self.rarity.take(peer.have.bits)
        return peer

    @property
    def lets_in(self) -> bool:
        """Whether the tracker lets this node, of all in its zone, get the blob from other zones."""
        return self.guided and bool(self._zone) and any(peer.far for peer in self.peers.values())

    def spread(self, *, doubted: bool = False) -> int:
        """Chunks that others hold, of this zone where one node lets the blob in, as bits.

        ``doubted``: without those who claim to have everything.
        """
        if not self.lets_in and not doubted:
            return self.rarity.available
        bits = 0
        for peer in self.peers.values():
            if peer.have is not None and not (peer.far and self.lets_in) and not (peer.complete and doubted):
                bits |= peer.have.bits
        return bits

    def _far(self, provider: Provider) -> bool:
        return apart(self._zone, provider.zone)

    def unlink_all(self, reason: str) -> None:
        """Let all go."""
        self._out.extend(act.Unlink(p.provider, reason) for p in self.peers.values() if not p.direct)
        self.peers.clear()

    def overtaken(self, pending: Pending, now: float) -> None:
        """Others answered all that a request asks for: drop it, and a peer that is late again and again."""
        self.give_up(pending)
        peer = self.peers.get(pending.peer)
        if peer is not None and peer.overtaken >= OVERTAKEN_LIMIT:
            self.drop(pending.peer, now, reason="slow: others answered sooner")

    def give_up(self, pending: Pending) -> None:
        """Drop a request; where it was late, its peer is asked after the others from now on."""
        self.cancel(pending.request)
        peer = self.peers.get(pending.peer)
        if peer is not None and pending.late:
            peer.overtaken += 1

    def cancel_from(self, name: str) -> None:
        """Drop every request to one peer."""
        for request in [r.request for r in self._requests.pending.values() if r.peer == name]:
            self.cancel(request)

    def cancel(self, request: int) -> None:
        """Drop a request."""
        pending = self._requests.end(request)
        if pending is None:
            return
        if pending.peer in self.peers:
            self.peers[pending.peer].requests -= 1
        self._out.append(act.Cancel(request))

    def cancel_all(self) -> None:
        """Drop every request."""
        for request in tuple(self._requests.pending):
            self.cancel(request)

    def offer(self, held: int) -> bool:
        """Whether anybody may still supply a chunk that is not among ``held`` (bits)."""
        return any(peer.have is None or peer.have.bits & ~held for peer in self.peers.values())

    def _has_room(self, now: float, *, found: bool, grace: float = 0.0) -> bool:
        """Whether one more may be met; where it was ``found`` a peer is let go that was idle for ``grace`` s.

        Without a tracker a node first tries whom it knows: in a large cluster none of them may have it, and
        all seats would be theirs.
        """
        if len(self.peers) < self._most:
            return True
        if not found or self.guided:
            return False
        # From the end: those that everybody ranks first are where the few meet.
        idle = next((n for n, p in reversed(self.peers.items()) if p.idle and now >= p.since + grace), "")
        if idle:
            self._remove(idle, "it has nothing, and others do")
        return bool(idle)

    def _meet(self, provider: Provider, layout: Layout | None, now: float) -> None:
        peer = self.peers[provider.node] = Peer(provider, now, far=self._far(provider))
        if layout is not None and layout.count == 1 and provider.complete:
            # One chunk needs no list and no news of progress: it is asked for at once, unlinked.
            peer.direct = peer.complete = True
            self.holds(peer, Bitfield.full(1))
        else:
            self._out.append(act.Link(provider))
