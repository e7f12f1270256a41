"""Discovery by the DHT: the shell around ``p2p.core.dht.node``, a task for its clock and one a socket."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio

from p2p.core.dht import events as ev
from p2p.core.dht.contact import K
from p2p.core.dht.messages import decode, encode
from p2p.core.dht.node import Dht
from p2p.core.dht.records import LIFE, make
from p2p.core.dht.replay import ReplayWindow
from p2p.core.dht.routing import CAPACITY
from p2p.core.dht.sealing import Dropped, Sealer, blob_key
from p2p.core.dht.server import Own
from p2p.core.swarm.events import LeaseState, Planned
from p2p.core.wire.common import Provider
from p2p.discovery.dht import contacts
from p2p.discovery.dht.addresses import provider_of, to_endpoint, to_host
from p2p.discovery.dht.bootstrap import Bootstrap, resolve
from p2p.discovery.dht.crypto import AesGcm, SigningKey, verify
from p2p.discovery.dht.renewals import Renewals
from p2p.discovery.dht.statistics import BOUNDS, DhtStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

    from p2p.core.oci.digest import Digest
    from p2p.core.wire.common import Holding
    from p2p.discovery.api import Sink
    from p2p.discovery.dht.udp import UdpSockets

ENOUGH: Final = 8
"""Providers at which a lookup stops. They know more, and the swarm links to 30 at most."""
ENOUGH_KEEPERS: Final = K // 2
"""Nodes that must have taken a record, or else it is put again soon."""
AGAIN: Final = 2.0
"""Seconds until what was not found is looked for again; twice as many each time, up to ``LONGEST``."""
LONGEST: Final = 30.0
PAUSE: Final = 1.0
"""Seconds between two lookups for one digest, however often it is asked for."""
SAVE: Final = 60.0
HINTS: Final = 256
"""Peers that wait to be resolved and met at most."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DhtIdentity:
    """A node: its id as a peer, its DHT key, and where its peers find it (``host`` empty: as it is seen)."""

    node: str
    key: SigningKey
    host: str
    port: int


@dataclass(slots=True)
class _Want:
    digest: Digest
    size: int
    unreachable: frozenset[str]
    sink: Sink
    again_at: float
    pause: float = AGAIN
    ended_at: float = float("-inf")
    lookups: set[int] = field(default_factory=set)
    providers: dict[tuple[str, int], Provider] = field(default_factory=dict)
    tell: bool = False


class DhtDiscovery:
    """One per node; all calls are from the trio loop.

    ``ring``: the cluster's keys. The first one seals and names what is put; what is sought is sought under
    all. ``bootstrap``: ``host:port`` of nodes. ``on_contact`` (settable) is told of every node that is
    admitted, as the peer that it says to be. The sockets stay their opener's.
    """

    def __init__(
        self,
        identity: DhtIdentity,
        sockets: UdpSockets,
        *,
        ring: Sequence[bytes],
        bootstrap: Sequence[str] = (),
        file: Path | None = None,
        rng: Random,
        loopback: bool = True,
        most_contacts: int = CAPACITY,
        clock: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        self.on_contact: Callable[[Provider], None] | None = None
        self._identity = identity
        self._sockets = sockets
        self._file = file
        self._loopback = loopback
        self._clock = clock
        self._sealer = Sealer(ring, aead=AesGcm(), entropy=os.urandom, replays=ReplayWindow())
        own = Own(identity.key.public, identity.key.sign, bytes.fromhex(identity.node), identity.port)
        self._core = Dht(
            own,
            verify=verify,
            entropy=os.urandom,
            now=trio.current_time(),
            families=sockets.families,
            contacts=most_contacts,
        )
        self._bootstrap = Bootstrap(bootstrap, lonely=self._is_lonely, meet=self._met)
        self._renewals = Renewals(rng)
        self._wants: dict[str, _Want] = {}
        self._seeking: dict[int, str] = {}
        self._providing: dict[int, str] = {}
        self._inbox: deque[ev.Event] = deque()
        self._hints: deque[tuple[str, int]] = deque(maxlen=HINTS)
        self._hinted = trio.Event()
        self._numbers = 0
        self._wake = trio.Event()
        self._sleeps_until = float("-inf")
        self._dropped: Counter[Dropped] = Counter()
        self._received = self._sent = self._found = self._missed = self._stored = self._unstored = 0
        self._seconds = 0.0
        self._classes = [0] * (len(BOUNDS) + 1)

    @property
    def available(self) -> bool:
        """Whether any node is known."""
        return len(self._core.table) > 0

    # ── what the node wants and tells ──────────────────────────────────────────────────────────────

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Look for providers, and again while none is found or those that are do not help.

        Each lookup ends with a plan, empty where nothing was found. Leases are none of the DHT's.
        """
        del lease
        name, now = str(digest), trio.current_time()
        want = self._wants.get(name)
        if want is None:
            self._wants[name] = _Want(digest, size, unreachable, sink, now)
        else:
            want.size, want.unreachable, want.sink = size or want.size, unreachable, sink
            want.tell = bool(want.providers)
            want.again_at = max(now, want.ended_at + PAUSE)
        self._wake.set()

    def unwant(self, digest: Digest) -> None:
        """End it."""
        want = self._wants.pop(str(digest), None)
        if want is not None:
            for number in want.lookups:
                del self._seeking[number]
                self._inbox.append(ev.Abandon(number))
            self._wake.set()

    def announce(self, holding: Holding) -> None:
        """Provide a complete blob from now on, or no longer; partial ones are found through the swarm."""
        if holding.complete:
            self._renewals.add(holding.digest, trio.current_time())
            self._wake.set()
        elif not holding.chunks:
            self._renewals.remove(holding.digest, trio.current_time())
            self._wake.set()

    def meet(self, provider: Provider) -> None:
        """A peer is known, from wherever: it may be a node of the DHT as well, on the same port number."""
        if self._is_lonely():
            self._hints.append((provider.host, provider.port))
            self._hinted.set()

    # ── running ────────────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; the contacts are kept for the next start."""
        if self._file is not None:
            for endpoint in contacts.load(self._file):
                self._met(endpoint)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._sockets.run, self._take)
                nursery.start_soon(self._bootstrap.run)
                nursery.start_soon(self._follow_hints)
                nursery.start_soon(self._save_now_and_then)
                task_status.started()
                while True:
                    self._turn(trio.current_time())
                    self._wake = trio.Event()
                    with trio.move_on_at(self._sleeps_until):
                        await self._wake.wait()
        finally:
            self._save()

    def _turn(self, now: float) -> None:
        """Do what is due, and note when the next is."""
        while self._inbox:
            self._do(self._inbox.popleft(), now)
        if self._core.next_deadline() <= now:
            self._do(ev.Tick(), now)
        for want in tuple(self._wants.values()):
            if want.tell:
                self._tell(want)
            if want.again_at <= now and not want.lookups:
                self._seek(want, now)
        self._provide(now)
        due = [self._core.next_deadline(), *(w.again_at for w in self._wants.values() if not w.lookups)]
        if (renewal := self._renewals.next_deadline()) is not None and self.available:
            due.append(renewal)
        self._sleeps_until = now if self._inbox else min(due)

    def _take(self, datagram: memoryview, sender: Any) -> None:
        """A datagram came: nothing of it is looked at before its seal holds."""
        self._received += 1
        wall = self._clock()
        plain = self._sealer.open(datagram, wall)
        if isinstance(plain, Dropped):
            self._dropped[plain] += 1
            return
        try:
            message = decode(plain)
        except ValueError:
            self._dropped[Dropped.MALFORMED] += 1
            return
        endpoint = to_endpoint(sender[0], sender[1])
        self._do(ev.Received(endpoint, message, len(plain), wall), trio.current_time())
        if self._core.next_deadline() < self._sleeps_until:
            self._wake.set()

    def _do(self, event: ev.Event, now: float) -> None:
        for action in self._core.handle(event, now):
            match action:
                case ev.Transmit(endpoint=endpoint, message=message):
                    self._sent += 1
                    self._sockets.send(endpoint, self._sealer.seal(encode(message), self._clock()))
                case ev.Discovered():
                    self._discovered(action)
                case ev.Ended():
                    self._ended(action, now)
                case ev.Admitted(contact=contact, node=node, peer_port=port):
                    if self.on_contact is not None:
                        host = to_host(contact.endpoint.ip)
                        self.on_contact(Provider(node.hex(), f"{host}:{port}", host, port))
                    self._in_company(now)

    def _in_company(self, now: float) -> None:
        """Somebody is there: what waited for that goes on."""
        if len(self._core.table) == 1:
            for want in self._wants.values():
                want.again_at = now
        self._wake.set()

    # ── lookups ────────────────────────────────────────────────────────────────────────────────────

    def _seek(self, want: _Want, now: float) -> None:
        name = str(want.digest)
        numbers = [self._number() for _ in self._sealer.keys]
        want.lookups.update(numbers)
        self._seeking.update(dict.fromkeys(numbers, name))
        for number, key in zip(numbers, self._sealer.keys, strict=True):
            self._do(ev.Seek(number, blob_key(key, name), ENOUGH), now)

    def _discovered(self, news: ev.Discovered) -> None:
        want = self._wants.get(self._seeking.get(news.lookup, ""))
        if want is None:
            return
        before = len(want.providers)
        for held in news.records:
            provider = provider_of(held, loopback=self._loopback)
            if provider is not None:
                want.providers[provider.host, provider.port] = provider
        if len(want.providers) > before:
            self._tell(want)

    def _ended(self, end: ev.Ended, now: float) -> None:
        digest = self._providing.pop(end.lookup, None)
        if digest is not None:
            stored = end.count >= min(ENOUGH_KEEPERS, len(self._core.table))
            self._stored += stored
            self._unstored += not stored
            self._renewals.done(digest, stored=stored, now=now)
            self._wake.set()
            return
        want = self._wants.get(self._seeking.pop(end.lookup, ""))
        if want is None:
            return
        self._seconds += end.seconds
        self._classes[sum(end.seconds > bound for bound in BOUNDS)] += 1
        self._found += end.count > 0
        self._missed += end.count == 0
        want.lookups.discard(end.lookup)
        if want.lookups:
            return
        want.ended_at = now
        want.pause = min(2 * want.pause, LONGEST)
        want.again_at = now + (LONGEST if want.providers else want.pause / 2)
        if not want.providers:
            self._tell(want)
        self._wake.set()

    def _tell(self, want: _Want) -> None:
        want.tell = False
        providers = tuple(one for one in want.providers.values() if one.node not in want.unreachable)
        want.sink(Planned(providers, LeaseState.UNASKED, exclusive=False, size=want.size, route="dht"))

    # ── records ────────────────────────────────────────────────────────────────────────────────────

    def _provide(self, now: float) -> None:
        """Put what is due, or take it back. Alone, a record reaches nobody: it waits for company."""
        if not self.available:
            return
        me, wall = self._identity, self._clock()
        for digest in self._renewals.take(now):
            record = make(
                blob_key(self._sealer.keys[0], digest),
                public=me.key.public,
                sign=me.key.sign,
                host=me.host,
                port=0 if self._renewals.leaving(digest) else me.port,
                expires=wall + LIFE,
            )
            number = self._number()
            self._providing[number] = digest
            self._do(ev.Provide(number, record, wall), now)

    # ── contacts ───────────────────────────────────────────────────────────────────────────────────

    def _is_lonely(self) -> bool:
        return len(self._core.table) < K

    def _met(self, endpoint: Any) -> None:
        self._inbox.append(ev.Meet(endpoint))
        self._wake.set()

    async def _follow_hints(self) -> None:
        while True:
            while self._hints:
                for endpoint in await resolve(*self._hints.popleft()):
                    self._met(endpoint)
            self._hinted = trio.Event()
            await self._hinted.wait()

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(SAVE)  # contacts change all the time: kept now and then
            self._save()

    def _save(self) -> None:
        """Keep the most recently seen; an empty table overwrites nothing."""
        if self._file is not None and self.available:
            seen = sorted(self._core.table, key=lambda one: -one.seen)
            contacts.save(self._file, [one.endpoint for one in seen])

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def statistics(self) -> DhtStatistics:
        """Give the figures of now."""
        core = self._core
        dropped = {reason.value: self._dropped[reason] for reason in Dropped}
        dropped[Dropped.UNEXPECTED.value] += core.counts.unexpected
        return DhtStatistics(
            contacts=len(core.table),
            records=len(core.records),
            provided=len(self._renewals),
            lookups_running=len(core.searches.running),
            lookups_waiting=core.searches.waiting,
            found=self._found,
            missed=self._missed,
            lookup_seconds=self._seconds,
            lookup_classes=tuple(self._classes),
            stored=self._stored,
            unstored=self._unstored,
            received=self._received,
            sent=self._sent,
            unsent=self._sockets.unsent,
            dropped=dropped,
            challenged=core.counts.challenged,
            refused=core.refused,
            unanswered=core.counts.failed,
            evicted=core.admission.evicted,
        )
