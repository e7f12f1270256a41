"""A network of DHT nodes on a heap: latency, loss, the dead, one seed; no sockets, no real signatures."""

from __future__ import annotations

import hashlib
import heapq
import random
from itertools import count

from p2p.core.dht.contact import Endpoint
from p2p.core.dht.events import (
    Action,
    Admitted,
    Discovered,
    Ended,
    Event,
    Meet,
    Provide,
    Received,
    Seek,
    Tick,
    Transmit,
)
from p2p.core.dht.messages import Record, decode, encode
from p2p.core.dht.node import Dht
from p2p.core.dht.records import LIFE, make
from p2p.core.dht.server import Own

EPOCH = 1_700_000_000.0
"""Unix time at the network's time 0."""


def sign_as(public: bytes):
    """A signature that anybody could make: the rig's nodes are honest unless a test says otherwise."""

    def sign(data: bytes) -> bytes:
        return hashlib.sha512(public + data).digest()

    return sign


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    return signature == hashlib.sha512(public + data).digest()


def public_of(number: int) -> bytes:
    return hashlib.sha256(b"public %d" % number).digest()


def endpoint_of(number: int) -> Endpoint:
    return Endpoint(bytes([10, number >> 16 & 255, number >> 8 & 255, number & 255]), 5001)


def record_of(
    number: int, key: bytes, wall: float = EPOCH, *, life: float = LIFE, host: str = "", port: int = 5001
) -> Record:
    public = public_of(number)
    return make(key, public=public, sign=sign_as(public), host=host, port=port, expires=wall + life)


class Network:
    """Nodes by number. ``loss`` of datagrams, ``delay`` seconds one way at most."""

    def __init__(
        self, nodes: int, *, seed: int = 1, loss: float = 0.0, delay: float = 0.02, **options
    ) -> None:
        self.rng = random.Random(seed)
        self.loss, self.delay = loss, delay
        self.now = 0.0
        self.alive = [True] * nodes
        self.done: dict[tuple[int, int], Ended] = {}
        self.found: dict[tuple[int, int], list[tuple[float, Record]]] = {}
        self.sent = 0
        self.aliases: dict[int, Endpoint] = {}
        self.slow: dict[int, float] = {}
        self.bytes_out: dict[Endpoint, int] = {}
        self._order = count()
        self._heap: list = []
        self._ticks: list[float | None] = [None] * nodes
        self._by_endpoint = {endpoint_of(n): n for n in range(nodes)}
        self.nodes = [
            Dht(
                Own(public_of(n), sign_as(public_of(n)), public_of(n)[:16], 5001),
                verify=verify,
                entropy=self.rng.randbytes,
                now=0.0,
                **options,
            )
            for n in range(nodes)
        ]

    def join(self, seconds: float = 60.0) -> None:
        """Let everyone know node 0, one after the other, and wait until the tables are full."""
        lonely = list(range(1, len(self.nodes)))
        while lonely:  # as the shell does it: again, while nobody is known
            for number in lonely:
                self.do(number, Meet(endpoint_of(0)))
                self.run(self.now + 0.05)
            self.run(self.now + 6.0)
            lonely = [number for number in lonely if not len(self.nodes[number].table)]
        self.run(self.now + seconds)

    def do(self, number: int, event: Event) -> None:
        self._perform(number, self.nodes[number].handle(event, self.now))

    def seek(self, number: int, key: bytes, enough: int = 8, lookup: int = 1, seconds: float = 3.0) -> Ended:
        """One lookup, to its end."""
        self.done.pop((number, lookup), None)
        self.do(number, Seek(lookup, key, enough))
        return self._await(number, lookup, seconds)

    def provide(self, number: int, key: bytes, lookup: int = 2) -> Ended:
        self.done.pop((number, lookup), None)
        self.do(number, Provide(lookup, record_of(number, key, EPOCH + self.now), EPOCH + self.now))
        return self._await(number, lookup, 3.0)

    def _await(self, number: int, lookup: int, seconds: float) -> Ended:
        until = self.now + seconds
        while (number, lookup) not in self.done and self.now < until:
            self.run(min(until, self.now + 0.05))
        return self.done[number, lookup]

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, number, event = heapq.heappop(self._heap)
            if not self.alive[number]:
                continue
            if isinstance(event, Tick) and self._ticks[number] != self.now:
                continue
            self.do(number, event)
        self.now = until

    def _perform(self, number: int, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Transmit():
                    self._send(number, action)
                case Ended(lookup=lookup):
                    self.done[number, lookup] = action
                case Discovered(lookup=lookup, records=records):
                    news = [(self.now, held.record) for held in records]
                    self.found.setdefault((number, lookup), []).extend(news)
                case Admitted():
                    pass
        due = max(self.nodes[number].next_deadline(), self.now)
        if self._ticks[number] != due:
            self._ticks[number] = due
            heapq.heappush(self._heap, (due, next(self._order), number, Tick()))

    def _send(self, number: int, action: Transmit) -> None:
        data = encode(action.message)
        self.sent += 1
        self.bytes_out[action.endpoint] = self.bytes_out.get(action.endpoint, 0) + len(data)
        target = self._by_endpoint.get(action.endpoint)
        if target is None or self.rng.random() < self.loss:
            return
        at = self.now + self.rng.random() * self.delay + self.slow.get(number, 0.0)
        came = Received(self.aliases.get(number, endpoint_of(number)), decode(data), len(data), EPOCH + at)
        heapq.heappush(self._heap, (at, next(self._order), target, came))
