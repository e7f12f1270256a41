"""What one link says and hears of further peers: few hints, in batches, about what was subscribed to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm.acquaintances import HINTS, Pace, admissible
from p2p.core.swarm.events import PeerKnown
from p2p.core.wire.common import apart
from p2p.core.wire.peer import Known, PeerAddress
from p2p.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.swarm.acquaintances import Address
    from p2p.core.wire.peer import PeerHello, Streams
    from p2p.transfer.exchange import Exchange

MESSAGES = 256
"""Most messages about further peers that are taken for one digest."""


class Introductions:
    """``host`` and ``port``: where the other side was dialled, or comes from, with port 0.

    ``zone``: this node's. Nobody hears of nodes of other zones: one of a zone gets a blob from there, as the
    tracker says, and the others would follow it.
    """

    def __init__(self, exchange: Exchange, address: Address, zone: str = "") -> None:
        self._exchange = exchange
        self._zone = zone
        self._far = False
        self._address = address
        self._theirs: PeerHello | None = None
        self._served: dict[str, dict[Address, None]] = {}
        """Digest that the other side subscribed to → whom it was told of."""
        self._held: dict[str, None] = {}
        self._heard: Counter[str] = Counter()
        self._news: dict[str, None] = {}
        self._wake = trio.Event()
        self.on_news: Callable[[], None] = self._wakes
        """Called when there may be something to ``take``."""
        self._send: Callable[[Known | Streams], None] | None = None

    def greeted(self, theirs: PeerHello) -> None:
        """The other side has said who it is."""
        self._theirs = theirs
        self._far = apart(self._zone, theirs.zone)

    def serve(self, digest: str) -> None:
        """The other side subscribed to a digest: it gathers it, and is told of others."""
        if self._theirs is not None and digest not in self._served:
            self._served[digest] = {}
            if not self._far:
                self._exchange.met(digest, self._theirs.node, (self._address[0], self._theirs.port))
            self._exchange.watch(digest, self._changed)
            self._exchange.listen(digest, self._streams)

    def serve_no_more(self, digest: str) -> None:
        """It does so no longer."""
        if self._theirs is not None and self._served.pop(digest, None) is not None:
            if not self._far:
                self._exchange.gone(digest, self._theirs.node)
            self._exchange.unwatch(digest, self._changed)
            self._exchange.listen_no_more(digest, self._streams)

    def holds(self, digest: str, *, holds: bool) -> None:
        """Note for others whether the other side has anything of a digest that we subscribed to."""
        if self._theirs is None or self._far or holds == (digest in self._held):
            return
        if holds:
            self._held[digest] = None
            self._exchange.met(digest, self._theirs.node, self._address)
        else:
            del self._held[digest]
            self._exchange.gone(digest, self._theirs.node)

    def end(self) -> None:
        """The link is no more."""
        for digest in tuple(self._served):
            self.serve_no_more(digest)
        for digest in tuple(self._held):
            self.holds(digest, holds=False)

    def heard(self, message: Known, peer: str) -> PeerKnown:
        """Take the other side's word on a digest that we subscribed to; PeerError where it has no end."""
        self._heard[message.digest] += 1
        if self._heard[message.digest] > MESSAGES:
            raise PeerError(self._address[0], "speaks of further peers without end")
        told = ((one.host, one.port) for one in message.addresses)
        good = tuple(one for one in told if admissible(*one, told_by=self._address[0]))
        return PeerKnown(peer, good[:HINTS])

    async def run(self, send: Callable[[Known | Streams], None]) -> None:
        """Tell the other side who else has or gathers what it subscribed to, until cancelled."""
        self._send = send
        pace = Pace()
        while True:
            await self._wake.wait()
            await trio.sleep(pace.wait(trio.current_time()))
            self._wake = trio.Event()
            for known in self.take():
                send(known)

    def take(self) -> list[Known]:
        """Give what the other side is to be told now; it counts as told."""
        assert self._theirs is not None
        out: list[Known] = []
        digests, self._news = tuple(self._news), {}
        for digest in digests:
            told = self._served.get(digest)
            if told is None or len(told) >= HINTS:
                continue
            found = self._exchange.others(digest, self._theirs.node, told)
            if found:
                told |= dict.fromkeys(found)
                out.append(Known(digest, tuple(PeerAddress(*address) for address in found)))
        return out

    def _streams(self, news: Streams) -> None:
        if self._send is not None:
            self._send(news)

    def _changed(self, digest: str) -> None:
        self._news[digest] = None
        self.on_news()

    def _wakes(self) -> None:
        self._wake.set()
