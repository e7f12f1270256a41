"""All ways behind one face: the tracker while it answers, else known peers, the DHT and claims."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import trio

from p2p.core.oci.digest import Digest
from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.discovery import claims
from p2p.discovery.api import Discovery, Leases, References
from p2p.discovery.fallback import AskDht, Fallback
from p2p.discovery.static import PLAN_SIZE

if TYPE_CHECKING:
    from random import Random

    from p2p.core.wire.common import Holding, Provider
    from p2p.discovery.api import KnownReference, Sink
    from p2p.discovery.static import StaticPeers

DHT_FIRST, DHT_LAST = 0.050, 0.100
"""Seconds after which the DHT is asked: others are given that long, and not all nodes ask at once."""

NAMED = 64
"""Nodes named in plans that are counted in when the node waits its turn for a claim."""

AskPeers = Callable[[str, str], Awaitable["KnownReference | None"]]


class ControlPlane(Discovery, Leases, References, Protocol):
    """What ``Routes`` needs of a tracker's client."""

    on_change: Callable[[bool], None] | None

    def held(self, digest: Digest) -> int:
        """Give the epoch of a lease it was granted, 0 for none."""
        ...


class DhtWay(Discovery, Protocol):
    """What ``Routes`` needs of the DHT."""

    on_contact: Callable[[Provider], None] | None

    def meet(self, provider: Provider) -> None:
        """Take a peer that may be a node of the DHT too."""
        ...


@dataclass(slots=True)
class _Route:
    digest: Digest
    size: int
    unreachable: frozenset[str]
    sink: Sink
    alone: bool = False
    found: tuple[Provider, ...] = ()
    """By the DHT."""


class Routes:
    """Discovery, leases and tags for the whole node.

    ``node`` is this node's id. ``tracker`` None: there is none. ``ask_peers(repository, reference)`` asks
    linked peers for a tag, within about a second. ``dht`` None: there is none. ``zone``: this node's, empty:
    none. Sinks are called from ``run``'s tasks only, never from inside ``want``. A claim without a tracker
    has epoch 0 and ``exclusive=False``.

    Nobody hears of a ``confined`` digest: neither that this node has it nor that it wants it. The answer to a
    want of one is the origin, at once.
    """

    def __init__(
        self,
        node: str,
        *,
        static: StaticPeers,
        tracker: ControlPlane | None,
        rng: Random,
        ask_peers: AskPeers | None = None,
        confined: Container[Digest] = (),
        dht: DhtWay | None = None,
        zone: str = "",
    ) -> None:
        self._node = node
        self._zone = zone
        self._static = static
        self._tracker = tracker
        self._rng = rng
        self._ask_peers = ask_peers
        self._confined = confined
        self._dht = dht
        self._routes: dict[str, _Route] = {}
        self._fallback = Fallback(self._claim_delay, self._dht_delay if dht is not None else None)
        self._named: OrderedDict[str, None] = OrderedDict()
        self._away = False
        """The tracker failed lately: nobody waits for its answer."""
        self._wake = trio.Event()
        if tracker is not None:
            tracker.on_change = self._tracker_changed
        if dht is not None:
            dht.on_contact = static.add_hint

    @property
    def available(self) -> bool:
        """Always: without tracker and peers there is still the claim on the origin."""
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep all ways going until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._tracker is not None:
                await nursery.start(self._tracker.run)
            await nursery.start(self._static.run)
            if self._dht is not None:
                await nursery.start(self._dht.run)
            task_status.started()
            while True:
                self._answer(trio.current_time())
                due = self._fallback.next_deadline()
                self._wake = trio.Event()
                with trio.move_on_at(float("inf") if due is None else due):
                    await self._wake.wait()

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Ask the tracker; without an answer in time, or without a tracker, go on with known peers."""
        name = str(digest)
        alone = digest in self._confined
        before = self._routes.get(name)
        found = before.found if before is not None and not alone else ()
        self._routes[name] = _Route(digest, size, unreachable, sink, alone, found)
        asked = self._tracker is not None and not self._away and not alone
        now = trio.current_time()
        self._fallback.want(name, lease=lease, tracker=asked, dht=not alone, now=now)
        if self._dht is not None and alone:
            self._dht.unwant(digest)  # as of the tracker, below
        if self._tracker is not None and alone:
            self._tracker.unwant(digest)  # it may have been asked before this was known
        elif self._tracker is not None:
            self._tracker.want(
                digest, size, lease=lease, unreachable=unreachable, sink=lambda news: self._told(name, news)
            )
        self._wake.set()

    def unwant(self, digest: Digest) -> None:
        """End it everywhere."""
        name = str(digest)
        if self._routes.pop(name, None) is not None:
            self._fallback.unwant(name)
            if self._dht is not None:
                self._dht.unwant(digest)
        if self._tracker is not None:
            self._tracker.unwant(digest)

    def announce(self, holding: Holding) -> None:
        """Tell all ways; of a confined digest only that it is gone."""
        if (holding.complete or holding.chunks) and Digest.parse(holding.digest) in self._confined:
            return
        self._static.announce(holding)
        if self._dht is not None:
            self._dht.announce(holding)
        if self._tracker is not None:
            self._tracker.announce(holding)

    def met(self, provider: Provider) -> None:
        """A link met a peer: it is known from now on, and perhaps a node of the DHT."""
        self._static.add_known(provider)
        if self._dht is not None:
            self._dht.meet(provider)

    def progress(self, digest: Digest, epoch: int, offset: int) -> None:
        """Tell the tracker, if the lease is its."""
        if self._tracker is not None and epoch:
            self._tracker.progress(digest, epoch, offset)

    def release(self, digest: Digest, epoch: int, *, done: bool) -> None:
        """Give a lease or a claim back."""
        self._fallback.released(str(digest))
        if self._tracker is not None and epoch:
            self._tracker.release(digest, epoch, done=done)

    def seen(self, repository: str, reference: str, known: KnownReference) -> None:
        """Tell the tracker; peers ask by themselves."""
        if self._tracker is not None:
            self._tracker.seen(repository, reference, known)

    def unseen(self, repository: str, reference: str) -> None:
        """Tell the tracker."""
        if self._tracker is not None:
            self._tracker.unseen(repository, reference)

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        """Ask the tracker; without one each node asks the origin."""
        if self._tracker is None or not self._tracker.available:
            return None
        return await self._tracker.ask_first(repository, reference, max_age)

    async def find_reference(self, repository: str, reference: str) -> KnownReference | None:
        """Ask the tracker, then, where it knows nothing, the peers."""
        known: KnownReference | None = None
        if self._tracker is not None and self._tracker.available:
            known = await self._tracker.find_reference(repository, reference)
        if known is None and self._ask_peers is not None:
            known = await self._ask_peers(repository, reference)
        return known

    def _told(self, name: str, news: Planned | LeaseLost) -> None:
        route = self._routes.get(name)
        if route is None:
            return
        if isinstance(news, Planned):
            # A tracker that names nobody to a node with a zone may mean it: the blob comes in elsewhere.
            named = bool(news.providers or self._zone)
            self._fallback.answered(name, trio.current_time(), providers=named)
            self._note(news.providers)
            news = replace(news, providers=self._with_configured(news.providers, route.unreachable))
        route.sink(news)

    def _note(self, planned: tuple[Provider, ...]) -> None:
        for provider in planned:
            if self._dht is not None:
                self._dht.meet(provider)
            self._named[provider.node] = None
            self._named.move_to_end(provider.node)
        while len(self._named) > NAMED:
            self._named.popitem(last=False)

    def _with_configured(
        self, planned: tuple[Provider, ...], unreachable: frozenset[str]
    ) -> tuple[Provider, ...]:
        """Add the configured peers that a tracker's plan does not have; they may be unknown to it.

        Where this node has a zone, only those that are in it: whom the others ask is the tracker's affair.
        """
        nodes = {one.node for one in planned}
        places = {(one.host, one.port) for one in planned}
        more = tuple(
            one
            for one in self._static.configured()
            if one.node not in nodes
            and one.node not in unreachable
            and (one.host, one.port) not in places
            and (not self._zone or one.zone == self._zone)
        )
        return planned + more

    def _answer(self, now: float) -> None:
        for answer in self._fallback.take(now):
            route = self._routes[answer.digest]
            if isinstance(answer, AskDht):
                self._ask_dht(answer.digest, route)
                continue
            held = self._tracker.held(route.digest) if self._tracker is not None else 0
            # A lease of a tracker that is gone is still as good as any claim: the stream goes on.
            lease = LeaseState.GRANTED if held else answer.lease
            providers = () if route.alone else self._known(answer.digest, route)
            way = "origin" if route.alone else "static"
            route.sink(Planned(providers, lease, held, exclusive=False, size=route.size, route=way))

    def _known(self, name: str, route: _Route) -> tuple[Provider, ...]:
        """Give what the DHT found, then the peers known otherwise, each address once, no more than a plan."""
        own = self._static.providers(name, route.unreachable)
        found = (one for one in route.found if one.node not in route.unreachable)
        by_address = {(one.host, one.port): one for one in (*found, *own)}
        return tuple(by_address.values())[:PLAN_SIZE]

    def _ask_dht(self, name: str, route: _Route) -> None:
        assert self._dht is not None
        self._dht.want(
            route.digest,
            route.size,
            lease=False,
            unreachable=route.unreachable,
            sink=lambda news: self._dht_told(name, news),
        )

    def _dht_told(self, name: str, news: Planned | LeaseLost) -> None:
        route = self._routes.get(name)
        if route is None or route.alone or not isinstance(news, Planned):
            return
        route.found = news.providers
        self._fallback.dht_answered(name, trio.current_time(), found=bool(news.providers))
        if news.providers:
            route.sink(news)
        self._wake.set()

    def _dht_delay(self) -> float:
        """Ask known peers first where there are any, and a tracker unless it failed lately."""
        if self._away or (self._tracker is None and not self._static.available):
            return 0.0
        return DHT_FIRST + (DHT_LAST - DHT_FIRST) * self._rng.random()

    def _claim_delay(self, digest: str) -> float:
        if self._routes[digest].alone:
            return 0.0
        return claims.delay(self._node, digest, (*self._static.nodes(), *self._named), self._rng)

    def _tracker_changed(self, available: bool) -> None:
        self._away = not available
        if self._away:
            self._fallback.tracker_lost(trio.current_time())
            self._wake.set()
