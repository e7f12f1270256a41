"""The DHT of a simulated cluster: production's machines, whose datagrams cross the heap without seals.

Every node is up ``AHEAD`` seconds before the crowd comes, knows one other, and has joined by then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2p.core.dht import events as ev
from p2p.core.dht.messages import encode
from p2p.core.dht.node import Dht
from p2p.core.dht.records import LIFE, make
from p2p.core.dht.sealing import KEY_BYTES, blob_key
from p2p.core.dht.server import Own
from p2p.core.wire.common import Provider
from p2p.discovery.dht.addresses import provider_of, to_endpoint, to_host
from p2p.discovery.dht.service import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.dht.contact import Endpoint
    from p2p.sim.node import Node
    from p2p.sim.world import World

AHEAD = 40.0
"""Seconds in which the nodes join before the first one wants anything."""

EPOCH = 1_700_000_000.0
"""Unix time at 0."""

KEY = bytes(KEY_BYTES)

Found = tuple[Provider, ...]


def _sign(data: bytes) -> bytes:
    """Nobody here signs what another one would have to."""
    return hashlib.sha512(data).digest()


def _verify(public: bytes, signature: bytes, data: bytes) -> bool:
    del public, signature, data
    return True


@dataclass(slots=True)
class _Lookup:
    ended: Callable[[Found], None]
    found: dict[str, Provider] = field(default_factory=dict)


class Member:
    """One node of the DHT. ``met`` is told of everyone who comes into its table."""

    def __init__(self, world: World, node: Node, met: Callable[[Provider], None]) -> None:
        self._world = world
        self._node = node
        self._met = met
        one = node.provider
        self.endpoint = to_endpoint(one.host, one.port)
        self._rng = world.random((1 << 43) + node.number)
        self._public = hashlib.sha256(one.node.encode()).digest()
        self.core = Dht(
            Own(self._public, _sign, bytes.fromhex(one.node), one.port),
            verify=_verify,
            entropy=self._rng.randbytes,
            now=world.heap.now,
            contacts=world.scenario.contacts,
        )
        self._lookups: dict[int, _Lookup] = {}
        self._number = 0
        self._armed: float | None = None

    def meet(self, endpoint: Endpoint) -> None:
        """Somebody is there."""
        self._do(ev.Meet(endpoint))

    def seek(self, digest: str, ended: Callable[[Found], None]) -> None:
        """Look for providers; ``ended`` is told of those that were found."""
        self._number += 1
        self._lookups[self._number] = _Lookup(ended)
        self._do(ev.Seek(self._number, blob_key(KEY, digest), ENOUGH))

    def provide(self, digest: str) -> None:
        """Leave a record that this node has a blob."""
        self._number += 1
        wall = EPOCH + self._world.heap.now
        record = make(
            blob_key(KEY, digest),
            public=self._public,
            sign=_sign,
            host="",
            port=self.endpoint.port,
            expires=wall + LIFE,
        )
        self._do(ev.Provide(self._number, record, wall))

    def receive(self, event: ev.Received) -> None:
        """A datagram came."""
        self._do(event)

    def _do(self, event: ev.Event) -> None:
        heap = self._world.heap
        for action in self.core.handle(event, heap.now):
            match action:
                case ev.Transmit(endpoint=endpoint, message=message):
                    size = len(encode(message))
                    self._world.datagram(
                        self._node,
                        endpoint,
                        ev.Received(self.endpoint, message, size, EPOCH + heap.now),
                    )
                case ev.Admitted(contact=contact, node=node, peer_port=port):
                    self._met(self._provider(to_host(contact.endpoint.ip), port, node.hex()))
                case ev.Discovered(lookup=number, records=records):
                    for held in records:
                        one = provider_of(held, loopback=False)
                        if one is not None and number in self._lookups:
                            known = self._provider(one.host, one.port, one.node)
                            self._lookups[number].found[known.node] = known
                case ev.Ended(lookup=number):
                    lookup = self._lookups.pop(number, None)
                    if lookup is not None:
                        lookup.ended(tuple(lookup.found.values()))
        self._arm()

    def _provider(self, host: str, port: int, node: str) -> Provider:
        """Give who is at an address: a link would tell."""
        return self._world.provider_at(to_endpoint(host, port)) or Provider(node, node, host, port)

    def _arm(self) -> None:
        due = self.core.next_deadline()
        if self._armed is None or due < self._armed:
            self._armed = due
            self._world.heap.at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        if self._armed == due:
            self._armed = None
            self._do(ev.Tick())
