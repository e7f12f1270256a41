"""What this node holds of each blob, complete or growing, for those who subscribe to it and the seeder."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import trio

from p2p.core.oci.digest import Digest
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.offer import FEW, Offer

if TYPE_CHECKING:
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.rng import Rng
    from p2p.store.api import Partial, Store


Watcher = Callable[[str], None]
"""Called with a digest when what is held of it changed; from the trio loop, must not block."""


@dataclass(frozen=True, slots=True)
class Held:
    """A moment's view of one blob: ``midstates`` None where the list must still be loaded."""

    size: int
    complete: bool
    have: Bitfield
    midstates: Midstates | None


class Holdings:
    """Looks in the growing blobs first, then in the store. What is ``confined`` is not there for peers.

    Of a blob that grows here its subscribers hear in turn, as this node can serve them (``Offer``), also
    after it is complete, until all have heard of all of it; and so of a blob that was here before them, where
    they are more than few. ``run`` keeps that going between events.
    """

    def __init__(self, store: Store, confined: Container[Digest] = (), *, rng: Rng) -> None:
        self.store = store
        self._confined = confined
        self.withheld = 0
        """How often peers asked for what they do not get."""
        self._rng = rng
        self._growing: dict[str, Partial] = {}
        self._watchers: dict[str, list[Watcher]] = {}
        self._offers: dict[str, Offer] = {}
        self._gone_out: set[str] = set()
        """Blobs with more than few watchers that have all heard of all: newcomers hear of all at once."""
        self._serving: dict[str, dict[str, int]] = {}
        """Digest → host → answers under way."""
        self._wake = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell those whose turn comes when nothing else happens, until cancelled."""
        task_status.started()
        while True:
            times = [self._next(digest, offer) for digest, offer in self._offers.items()]
            with trio.move_on_at(min((at for at in times if at is not None), default=float("inf"))):
                await self._wake.wait()
            self._wake = trio.Event()
            for digest in tuple(self._offers):
                self._invite(digest)

    def begin(self, partial: Partial) -> None:
        """Offer a partial blob's chunks from now on."""
        digest = str(partial.digest)
        self._growing[digest] = partial
        offer = self._offers[digest] = Offer(self._rng)
        for watcher in self._watchers.get(digest, ()):
            offer.joined(watcher, partial.have.bits)
        self._tell_all(digest)

    def changed(self, digest: Digest) -> None:
        """More chunks or states, or complete, or gone."""
        key = str(digest)
        offer = self._offers.get(key)
        if offer is None:
            self._tell_all(key)
            return
        if offer.lost(self._bits(key)):
            self._tell_all(key)
        self._invite(key)
        self._wake.set()

    def end(self, digest: Digest) -> None:
        """Offer the partial no longer (it is complete in the store, or given up)."""
        key = str(digest)
        self._growing.pop(key, None)
        if self.store.find(digest) is None:
            self._offers.pop(key, None)
        self.seeding(digest, on=False)
        self.changed(digest)

    def withholds(self, digest: Digest) -> bool:
        """Whether there is something of a blob that peers do not get."""
        return digest in self._confined and (
            str(digest) in self._growing or self.store.find(digest) is not None
        )

    def shareable(self, digest: str) -> bool:
        """Whether peers may hear anything of a digest at all."""
        return Digest.parse(digest) not in self._confined

    def asked(self, digest: Digest) -> None:
        """Count a peer that is told of nothing, if there is something."""
        self.withheld += self.withholds(digest)

    def seeding(self, digest: Digest, *, on: bool) -> None:
        """Whether the chunks that come now come from the origin: each is told to one subscriber first."""
        offer = self._offers.get(str(digest))
        if offer is not None:
            offer.seeding = on

    def spread(self, digest: Digest, chunks: int) -> None:
        """Note which chunks (bits) others are known to hold: of interest while one seeds."""
        offer = self._offers.get(str(digest))
        if offer is not None:
            offer.spread = chunks

    def sent(self, digest: Digest, chunks: range) -> None:
        """Note that somebody was sent these chunks."""
        offer = self._offers.get(str(digest))
        if offer is not None:
            offer.sent(chunks, trio.current_time())

    def serves(self, digest: Digest, host: str) -> None:
        """Note that one more answer to ``host`` is under way."""
        hosts = self._serving.setdefault(str(digest), {})
        if host not in hosts and (offer := self._offers.get(str(digest))) is not None:
            offer.asked()
        hosts[host] = hosts.get(host, 0) + 1

    def served(self, digest: Digest, host: str, seconds: float) -> None:
        """Note that it is through, after ``seconds``."""
        key = str(digest)
        hosts = self._serving[key]
        hosts[host] -= 1
        if not hosts[host]:
            del hosts[host]
        if not hosts:
            del self._serving[key]
        if key in self._offers:
            self._offers[key].took(seconds)
            self._wake.set()

    def growing(self, digest: Digest) -> Partial | None:
        """Give the partial blob, if one grows."""
        return None if digest in self._confined else self._growing.get(str(digest))

    def held(self, digest: Digest) -> Held | None:
        """What there is of a blob."""
        if digest in self._confined:
            return None
        partial = self._growing.get(str(digest))
        if partial is not None:
            return Held(partial.layout.size, False, partial.have, partial.midstates)
        stored = self.store.find(digest)
        if stored is None:
            return None
        return Held(stored.size, True, Bitfield(0), None)

    def told(self, held: Held, digest: str, watcher: Watcher) -> Held:
        """Give what a watcher may hear of ``held``: for now only a part, where others are told first."""
        offer = self._offers.get(digest)
        if offer is None:
            return held
        count, told = Layout(held.size).count, offer.told(watcher)
        if held.complete and told.bit_count() == count:
            return held
        return Held(held.size, False, Bitfield.from_int(count, told), held.midstates)

    def watch(self, digest: str, watcher: Watcher) -> None:
        """Call ``watcher`` on every change of a digest that it is to hear of, held or not."""
        watchers = self._watchers.setdefault(digest, [])
        watchers.append(watcher)
        if digest in self._offers:
            self._offers[digest].joined(watcher, self._bits(digest))
        elif len(watchers) > FEW and digest not in self._gone_out and (bits := self._bits(digest)):
            # A crowd has found a blob that is here whole: each chunk goes out once before any goes twice.
            offer = self._offers[digest] = Offer(self._rng, whole=True)
            for one in watchers:
                offer.joined(one, bits)
            self._tell_all(digest)
            self._wake.set()

    def unwatch(self, digest: str, watcher: Watcher) -> None:
        """End it."""
        watchers = self._watchers.get(digest, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(digest, None)
        if len(watchers) <= FEW:
            self._gone_out.discard(digest)
        if digest in self._offers:
            self._offers[digest].left(watcher)
            self._wake.set()

    def shown(self, digest: Digest) -> None:
        """What peers may see of a blob at all has changed."""
        self._tell_all(str(digest))

    def _tell_all(self, digest: str) -> None:
        for watcher in tuple(self._watchers.get(digest, ())):
            watcher(digest)

    def _bits(self, digest: str) -> int:
        partial = self._growing.get(digest)
        if partial is not None:
            return partial.have.bits
        stored = self.store.find(Digest.parse(digest))
        return (1 << Layout(stored.size).count) - 1 if stored is not None else 0

    def _next(self, digest: str, offer: Offer) -> float | None:
        return offer.next_at(self._bits(digest), len(self._serving.get(digest, ())))

    def _invite(self, digest: str) -> None:
        """Tell those whose turn it is; an offer of a complete blob that all have heard of ends."""
        offer, bits = self._offers[digest], self._bits(digest)
        served = len(self._serving.get(digest, ()))
        while (watcher := offer.invite(bits, served, trio.current_time())) is not None:
            cast("Watcher", watcher)(digest)
        if digest not in self._growing and offer.settled(bits):
            del self._offers[digest]
            if len(self._watchers.get(digest, ())) > FEW:
                self._gone_out.add(digest)
            self._tell_all(digest)
