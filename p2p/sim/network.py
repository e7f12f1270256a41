"""Bandwidth and delay: who sends how fast to whom.

An uploader answers ``slots`` requests at a time and shares its link evenly among them, as kept connections
do; the others wait in order. What leaves it passes the uplink of its zone (where the receiver is in another
one), then the receiver's downlink: each a queue, served in order, that passes bytes on as they come. So a
congested receiver delays what it receives, and does not slow its senders. Control messages take time but no
bandwidth: a batch of news is some hundred bytes, a chunk is megabytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2p.core.swarm.times import NodeTimes

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from p2p.sim.heap import Heap
    from p2p.sim.limits import Limit, Limits

RETRANSMIT = 0.2
"""Seconds that a lost packet costs where nothing else shows the loss (RFC 6298's usual least timeout)."""


@dataclass(slots=True, eq=False)
class Transfer:
    """Bytes from one host to another; ``done`` is called when the last of them is there."""

    source: Host
    target: Host
    size: int
    done: Callable[[], None]
    of: object = None
    """What it is a part of."""
    cancelled: bool = False
    since: float = 0.0
    left: int = 0
    """Bytes that its source's limit has not let through yet."""


@dataclass(slots=True)
class Queue:
    """A shared line: ``rate`` bytes a second, free from ``free`` on."""

    rate: float
    free: float = 0.0
    carried: int = 0

    def passes(self, size: int, ready: float) -> float:
        """Give when ``size`` bytes, the last of which is there at ``ready``, are through."""
        self.free = max(ready, self.free + size / self.rate)
        self.carried += size
        return self.free


@dataclass(slots=True, eq=False)
class Host:
    """One machine's link: ``up`` bytes a second shared by its answers, ``down`` its way in."""

    up: float
    down: Queue
    zone: int = 0
    asked: Callable[[object], None] | None = None
    """Called with what the answer is a part of, when one asks for such parts that was not being served."""
    freed: Callable[[float], None] | None = None
    """Called with its seconds when an answer is through or was dropped."""
    sent: int = 0
    limits: Limits | None = None
    waiting: deque[Transfer] = field(default_factory=deque)
    paced: dict[Transfer, None] = field(default_factory=dict)
    """Answers under way that wait for the limit."""
    active: list[tuple[float, Transfer]] = field(default_factory=list)
    """Answers that go out, with the point of ``work`` at which each ends, or has sent what it may for now."""
    work: float = 0.0
    """Bytes that each active answer would have got so far."""
    since: float = 0.0
    times: NodeTimes = field(default_factory=NodeTimes)
    """Of the requests of all swarms that run there."""
    turn: int = 0
    """Tells timers that were overtaken from the one that counts."""

    def askers(self, of: object = None) -> int:
        """How many others wait for answers that are parts ``of`` the same."""
        if not self.waiting and not self.paced and len(self.active) < 2:
            return sum(one.of is of for _, one in self.active)
        found = {id(one.target) for _, one in self.active if one.of is of}
        found.update(id(one.target) for one in self.paced if one.of is of)
        found.update(id(one.target) for one in self.waiting if one.of is of and not one.cancelled)
        return len(found)


class Network:
    """All hosts.

    ``latency`` seconds one way within a zone, ``far`` between zones; ``loss``: share of messages and answers
    that are delayed by a retransmission; ``zone_rate`` bytes a second out of a zone, 0 without bound.
    """

    def __init__(
        self,
        heap: Heap,
        rng: Random,
        *,
        latency: float,
        far: float = 0.0,
        loss: float = 0.0,
        slots: int = 4,
        zone_rate: float = 0.0,
    ) -> None:
        self._heap = heap
        self._rng = rng
        self._latency = latency
        self._far = far or latency
        self._loss = loss
        self._slots = slots
        self._zone_rate = zone_rate
        self.uplinks: dict[int, Queue] = {}

    def latency(self, one: Host, other: Host) -> float:
        """Seconds that a message takes, a lost packet's retransmission included."""
        time = self._latency if one.zone == other.zone else self._far
        while self._loss and self._rng.random() < self._loss:
            time += RETRANSMIT
        return time

    def send(self, transfer: Transfer) -> None:
        """Queue an answer at its source."""
        transfer.since = self._heap.now
        source = transfer.source
        before = source.askers(transfer.of)
        source.waiting.append(transfer)
        if source.asked is not None and source.askers(transfer.of) > before:
            source.asked(transfer.of)
        self._admit(source)

    def cancel(self, transfer: Transfer) -> None:
        """Drop an answer: what was not sent yet is not sent."""
        transfer.cancelled = True
        host = transfer.source
        if transfer in host.paced:
            del host.paced[transfer]
            self._dropped(transfer)
            return
        for entry in host.active:
            if entry[1] is transfer:
                self._settle(host)
                host.active.remove(entry)
                self._dropped(transfer)
                return

    def _dropped(self, transfer: Transfer) -> None:
        host = transfer.source
        self._admit(host)
        if host.freed is not None:
            host.freed(self._heap.now - transfer.since)

    def received(self, transfer: Transfer) -> int:
        """Bytes of an answer under way that its source has sent so far."""
        host = transfer.source
        for end, one in host.active:
            if one is transfer:
                self._settle(host)
                return max(0, int(transfer.size - transfer.left - (end - host.work)))
        return transfer.size - transfer.left if transfer in host.paced else 0

    def _settle(self, host: Host) -> None:
        now = self._heap.now
        if host.active:
            host.work += (now - host.since) * host.up / len(host.active)
        host.since = now

    def _admit(self, host: Host) -> None:
        self._settle(host)
        while host.waiting and len(host.active) + len(host.paced) < self._slots:
            transfer = host.waiting.popleft()
            if transfer.cancelled:
                continue
            if host.limits is not None and host.limits.up is not None:
                transfer.left = transfer.size
                self._pace(transfer, host.limits.up)
            else:
                host.active.append((host.work + transfer.size, transfer))
        self._rearm(host)

    def _pace(self, transfer: Transfer, limit: Limit) -> None:
        """Send the next bytes of an answer when the limit lets them through."""
        host, size = transfer.source, min(limit.step, transfer.left)

        def granted() -> None:
            self._settle(host)
            del host.paced[transfer]
            transfer.left -= size
            host.active.append((host.work + size, transfer))
            self._rearm(host)

        host.paced[transfer] = None
        limit.take(id(transfer.target), size, granted, lambda: not transfer.cancelled)

    def _rearm(self, host: Host) -> None:
        host.turn += 1
        if host.active:
            first = min(host.active, key=_end)
            wait = max(0.0, first[0] - host.work) * len(host.active) / host.up
            self._heap.at(self._heap.now + wait, self._sent, host, host.turn, first)

    def _sent(self, host: Host, turn: int, entry: tuple[float, Transfer]) -> None:
        if turn != host.turn:
            return
        transfer = entry[1]
        self._settle(host)
        host.work = max(host.work, entry[0])
        host.active.remove(entry)
        if transfer.left and host.limits is not None and host.limits.up is not None:
            self._pace(transfer, host.limits.up)
            self._rearm(host)
            return
        host.sent += transfer.size
        target = transfer.target
        ready = self._heap.now
        if self._zone_rate and host.zone != target.zone:
            uplink = self.uplinks.get(host.zone)
            if uplink is None:
                uplink = self.uplinks[host.zone] = Queue(self._zone_rate)
            ready = uplink.passes(transfer.size, ready)
        ready = target.down.passes(transfer.size, ready + self.latency(host, target))
        self._heap.at(ready, _arrived, transfer)
        self._admit(host)
        if host.freed is not None:
            host.freed(self._heap.now - transfer.since)


def _end(entry: tuple[float, Transfer]) -> float:
    return entry[0]


def _arrived(transfer: Transfer) -> None:
    if not transfer.cancelled:
        transfer.done()
