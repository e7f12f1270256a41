"""Several trackers behind one face: each digest has its own first and second one among them.

What a node holds is told to both, a want goes to the first that is there, and a lease's holder reports to
all of its digest's trackers: so the second one knows the swarm and its lease when the first one is gone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.core.wire.common import Holding
from p2p.core.wire.tracker import Intent
from p2p.discovery.standing import Standing
from p2p.discovery.tracker_client import TrackerClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from p2p.core.oci.digest import Digest
    from p2p.core.wire.tracker import IntentCancel, IntentProgress
    from p2p.discovery.api import KnownReference, Sink
    from p2p.discovery.tracker_client import Identity

SILENT = 0.6
"""Seconds without a word after which a tracker that was asked for a plan counts as silent."""

QUIET = 3.0
"""The same for one that has plans to push, which it does every two seconds."""

AGAIN = 0.1
"""A silent tracker is looked at twice: it may be this node that was busy."""

JOBS = 256
"""Prefetch jobs whose tracker is remembered."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Want:
    digest: Digest
    size: int
    lease: bool
    unreachable: frozenset[str]
    sink: Sink
    place: int


@dataclass(frozen=True, slots=True)
class _Lease:
    epoch: int
    rank: int


class Trackers:
    """``Discovery``, ``Leases`` and ``References`` over one or more tracker clients.

    ``on_change`` (settable) is told True when the first of them is there, False when the last one is lost
    and at every attempt that fails while none is there.
    """

    def __init__(
        self,
        urls: Sequence[str],
        identity: Identity,
        *,
        rng: Random,
        on_intent: Callable[[Intent | IntentCancel], None] | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        self.on_change = on_change
        self._on_intent = on_intent
        self._clients = [TrackerClient(url, identity, rng=rng) for url in dict.fromkeys(urls)]
        self._standing = Standing([client.url for client in self._clients], rng, trio.current_time())
        for place, client in enumerate(self._clients):
            client.on_change = partial(self._client_changed, place)
            client.on_intent = partial(self._intent, place)
            client.on_lost = self._lost
            client.rank = partial(self._rank, place)
        self._wants: dict[str, _Want] = {}
        self._leases: dict[str, _Lease] = {}
        self._holdings: dict[str, Holding] = {}
        self._charged: dict[str, tuple[int, ...]] = {}
        self._jobs: OrderedDict[str, int] = OrderedDict()
        self._seen_change = self._standing.changed
        self._unanswered: dict[str, float] = {}
        """Wants without a plan from the tracker that was asked → when it was asked."""
        self._suspected: dict[int, float] = {}
        self._wake = trio.Event()

    @property
    def available(self) -> bool:
        """Whether any tracker is connected and said welcome."""
        return self._standing.any_up

    def ways(self) -> dict[str, bool]:
        """Tell of all together, and where there are several of each, whether it is there."""
        found = {"tracker": self.available}
        if len(self._clients) > 1:
            found |= {f"tracker {client.url}": client.available for client in self._clients}
        return found

    def held(self, digest: Digest) -> int:
        """Give the epoch of the lease that a tracker granted this node on a digest, 0 for none."""
        lease = self._leases.get(str(digest))
        return lease.epoch if lease else 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected to all, and go on with the others where one is lost, until cancelled."""
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                await nursery.start(client.run)
            task_status.started()
            while True:
                now = trio.current_time()
                self._listen_for_silence(now)
                self._standing.tick(now)
                self._follow()
                self._wake = trio.Event()
                with trio.move_on_at(self._next_deadline()):
                    await self._wake.wait()

    # ── what the node tells and asks ───────────────────────────────────────────────────────────────

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Ask the digest's first tracker that is there; the next one by itself when that one is lost."""
        name = str(digest)
        before = self._wants.get(name)
        place = self._lead(name)
        if before is not None and before.place != place:
            self._clients[before.place].move(name)
        want = _Want(digest, size, lease, unreachable, sink, place)
        self._wants[name] = want
        self._ask(name, want)

    def unwant(self, digest: Digest) -> None:
        """End it; an unreleased lease goes back."""
        name = str(digest)
        self._unanswered.pop(name, None)
        want = self._wants.pop(name, None)
        leased = self._leases.pop(name, None) is not None
        for place, client in enumerate(self._clients):
            if leased or (want is not None and want.place == place):
                client.unwant(digest)

    def announce(self, holding: Holding) -> None:
        """Tell the digest's trackers what this node has."""
        name = holding.digest
        if holding.complete or holding.chunks:
            self._holdings[name] = holding
            places = self._charged[name] = self._charged.get(name) or self._standing.charge(name)
        else:
            self._holdings.pop(name, None)
            places = self._charged.pop(name, ())
        for place in places:
            self._clients[place].announce(holding)

    def progress(self, digest: Digest, epoch: int, offset: int) -> None:
        """Keep a lease, with all trackers of the digest."""
        for client in self._clients:
            client.progress(digest, epoch, offset)

    def release(self, digest: Digest, epoch: int, *, done: bool) -> None:
        """Give a lease back, to all trackers of the digest."""
        name = str(digest)
        lease = self._leases.get(name)
        if lease is not None and lease.epoch == epoch:
            del self._leases[name]
        for client in self._clients:
            client.release(digest, epoch, done=done)

    def report(self, progress: IntentProgress) -> None:
        """Tell the tracker of a prefetch job how an image goes."""
        place = self._jobs.get(progress.job)
        for client in self._clients if place is None else (self._clients[place],):
            client.report(progress)

    def seen(self, repository: str, reference: str, known: KnownReference) -> None:
        """Tell the tag's trackers that the origin confirmed it."""
        for place in self._standing.charge(_tag(repository, reference)):
            self._clients[place].seen(repository, reference, known)

    def unseen(self, repository: str, reference: str) -> None:
        """Tell the tag's trackers that the origin did not confirm it."""
        for place in self._standing.charge(_tag(repository, reference)):
            self._clients[place].unseen(repository, reference)

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        """Ask the tag's first tracker that is there whether the origin need be asked."""
        place = self._standing.leader(_tag(repository, reference))
        return None if place is None else await self._clients[place].ask_first(repository, reference, max_age)

    async def find_reference(self, repository: str, reference: str) -> KnownReference | None:
        """Ask the tag's trackers, all that are there at once; the youngest of their answers."""
        places = self._standing.charge(_tag(repository, reference))
        clients = [self._clients[place] for place in places if self._clients[place].available]
        found: list[KnownReference] = []

        async def ask(client: TrackerClient) -> None:
            known = await client.find_reference(repository, reference)
            if known is not None:
                found.append(known)

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(ask, client)
        return min(found, key=lambda known: known.age, default=None)

    # ── what the trackers tell ─────────────────────────────────────────────────────────────────────

    def _told(self, place: int, name: str, news: Planned | LeaseLost) -> None:
        if isinstance(news, LeaseLost):
            self._lost(name, news.epoch)
            return
        want = self._wants.get(name)
        if want is None or want.place != place:
            return
        self._unanswered.pop(name, None)
        if news.lease is LeaseState.GRANTED:
            self._granted(place, name, news.epoch)
        want.sink(news)

    def _granted(self, place: int, name: str, epoch: int) -> None:
        lease = self._leases.get(name)
        if lease is None or lease.epoch != epoch:
            lease = self._leases[name] = _Lease(epoch, self._rank(place, name))
        for other in self._standing.charge(name):
            if other != place:
                self._clients[other].hold(name, epoch, lease.rank)

    def _lost(self, name: str, epoch: int) -> None:
        lease = self._leases.get(name)
        if lease is not None and lease.epoch == epoch:
            del self._leases[name]
        for client in self._clients:
            client.drop(name, epoch)
        if (want := self._wants.get(name)) is not None:
            want.sink(LeaseLost(epoch))

    def _intent(self, place: int, message: Intent | IntentCancel) -> None:
        if isinstance(message, Intent):
            self._jobs[message.job] = place
            if len(self._jobs) > JOBS:
                self._jobs.popitem(last=False)
        if self._on_intent is not None:
            self._on_intent(message)

    def _client_changed(self, place: int, up: bool) -> None:
        before, now = self._standing.any_up, trio.current_time()
        if up:
            self._standing.up(place, now)
            for name, want in self._wants.items():
                if want.place == place:
                    self._unanswered[name] = now
        else:
            self._standing.down(place, now)
        self._follow()
        self._wake.set()
        after = self._standing.any_up
        if self.on_change is not None and (before != after or not after):
            self.on_change(after)

    # ── who leads ──────────────────────────────────────────────────────────────────────────────────

    def _rank(self, place: int, name: str) -> int:
        return self._standing.ranking(name).index(place)

    def _lead(self, name: str) -> int:
        leader = self._standing.leader(name)
        return self._standing.ranking(name)[0] if leader is None else leader

    def _ask(self, name: str, want: _Want) -> None:
        client = self._clients[want.place]
        if client.available:
            self._unanswered.setdefault(name, trio.current_time())
            self._wake.set()
        client.want(
            want.digest,
            want.size,
            lease=want.lease,
            unreachable=want.unreachable,
            sink=partial(self._told, want.place, name),
        )

    def _follow(self) -> None:
        """Ask and tell others where who leads, or who is in charge, has changed."""
        if self._seen_change == self._standing.changed:
            return
        self._seen_change = self._standing.changed
        for name, places in self._charged.items():
            charge = self._standing.charge(name)
            if charge != places:
                self._recharge(name, places, charge)
        for name, want in self._wants.items():
            place = self._lead(name)
            if place == want.place:
                continue
            lease = self._leases.get(name)
            if lease is not None:
                # Told before the want: the tracker then knows whose lease it is.
                self._clients[place].hold(name, lease.epoch, lease.rank)
            self._clients[want.place].move(name)
            want.place = place
            self._unanswered.pop(name, None)
            self._ask(name, want)

    def _recharge(self, name: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self._charged[name] = after
        for place in after:
            if place not in before:
                self._clients[place].announce(self._holdings[name])
                if (lease := self._leases.get(name)) is not None:
                    self._clients[place].hold(name, lease.epoch, lease.rank)
        for place in before:
            if place not in after:
                self._clients[place].announce(Holding(name, 0, 0, False))

    # ── who does not answer ────────────────────────────────────────────────────────────────────────

    def _quiet_at(self) -> dict[int, float]:
        """When each tracker that is asked for something counts as silent, if it says nothing until then."""
        found: dict[int, float] = {}
        if len(self._clients) == 1:
            return found
        for name, want in self._wants.items():
            place = want.place
            client = self._clients[place]
            if not client.available:
                continue
            asked = self._unanswered.get(name)
            at = client.heard + QUIET if asked is None else max(asked, client.heard) + SILENT
            found[place] = min(found.get(place, at), at)
        return found

    def _listen_for_silence(self, now: float) -> None:
        quiet_at = self._quiet_at()
        for place, client in enumerate(self._clients):
            at = quiet_at.get(place)
            if at is None or at > now:
                self._suspected.pop(place, None)
            elif self._suspected.setdefault(place, now + AGAIN) <= now:
                log.warning("tracker is silent", tracker=client.url)
                del self._suspected[place]
                self._standing.silent(place)
            if client.available and client.heard > now - SILENT:
                self._standing.spoke(place, now)

    def _next_deadline(self) -> float:
        due = [self._suspected.get(place, at) for place, at in self._quiet_at().items()]
        standing = self._standing.next_deadline()
        return min(due if standing is None else [*due, standing], default=float("inf"))


def _tag(repository: str, reference: str) -> str:
    return f"{repository}\n{reference}"
