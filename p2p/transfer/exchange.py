"""What links learn of further nodes of a digest, for other links and this node's own swarms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from p2p.core.swarm.acquaintances import HINTS, Acquaintances
from p2p.core.swarm.events import PeerKnown
from p2p.core.wire.peer import Streams

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.acquaintances import Address

Watcher = Callable[[str], None]
"""Called with a digest when somebody new is known for it; must not block."""

Sink = Callable[[PeerKnown], None]

Teller = Callable[[Streams], None]
"""Called with news of a stream for one subscriber; must not block."""


class Exchange:
    """One for all links of a node. Of what is not ``shareable`` nobody hears anything."""

    def __init__(self, own: str, shareable: Callable[[str], bool]) -> None:
        self._own = own
        self._shareable = shareable
        self._known = Acquaintances()
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._tellers: dict[str, dict[Teller, None]] = {}
        self._swarms: dict[str, Sink] = {}

    def met(self, digest: str, node: str, address: Address) -> None:
        """A linked node gathers or has a digest; ``gone`` as often as this."""
        if not address[1] or node == self._own or not self._known.add(digest, node, address):
            return
        for watcher in tuple(self._watchers.get(digest, ())):
            watcher(digest)
        if (sink := self._swarms.get(digest)) is not None:
            sink(PeerKnown("", (address,)))

    def gone(self, digest: str, node: str) -> None:
        """It does so no longer."""
        self._known.remove(digest, node)

    def others(self, digest: str, asker: str, told: Container[Address]) -> tuple[Address, ...]:
        """Give what ``asker`` may be told and was not yet."""
        return self._known.others(digest, asker, told) if self._shareable(digest) else ()

    def watch(self, digest: str, watcher: Watcher) -> None:
        """Call ``watcher`` whenever somebody new is known for a digest, and now."""
        self._watchers.setdefault(digest, {})[watcher] = None
        watcher(digest)

    def unwatch(self, digest: str, watcher: Watcher) -> None:
        """End it."""
        watchers = self._watchers.get(digest, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(digest, None)

    def streams(self, news: Streams) -> None:
        """Tell all subscribers of a digest, at once, of a node that streams it."""
        if self._shareable(news.digest):
            for teller in tuple(self._tellers.get(news.digest, ())):
                teller(news)

    def listen(self, digest: str, teller: Teller) -> None:
        """Call ``teller`` with whatever ``streams`` is told of a digest."""
        self._tellers.setdefault(digest, {})[teller] = None

    def listen_no_more(self, digest: str, teller: Teller) -> None:
        """End it."""
        tellers = self._tellers.get(digest, {})
        tellers.pop(teller, None)
        if not tellers:
            self._tellers.pop(digest, None)

    @contextmanager
    def swarm(self, digest: Digest, sink: Sink) -> Iterator[None]:
        """Tell a swarm of this node of whoever comes to be known for its digest."""
        name = str(digest)
        self._swarms[name] = sink
        if already := self._known.others(name, self._own, ()):
            sink(PeerKnown("", already[:HINTS]))
        try:
            yield
        finally:
            if self._swarms.get(name) is sink:
                del self._swarms[name]
