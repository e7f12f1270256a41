"""One DHT node, whole: events in, actions out. The shell seals, sends, keeps the clock and the contacts."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from kademlia.node import Node  # type: ignore[import-untyped]  # ships no types

from p2p.core.dht import events as ev
from p2p.core.dht.admission import Admission
from p2p.core.dht.calls import RESEND, Call, Calls, Outcome
from p2p.core.dht.contact import ID_BYTES, IPV4_BYTES, IPV6_BYTES, Contact, Endpoint, K, distance, id_of
from p2p.core.dht.lookup import Lookup
from p2p.core.dht.messages import (
    NO_TOKEN,
    REQUEST_BYTES,
    Find,
    Found,
    Held,
    Ping,
    Pong,
    Prove,
    Put,
    Stored,
    encode,
)
from p2p.core.dht.records import Records, is_good
from p2p.core.dht.routing import CAPACITY, Bucket, Member, Table
from p2p.core.dht.searches import BUDGET, Search, Searches
from p2p.core.dht.server import Own, Server, pong_bytes

if TYPE_CHECKING:
    from p2p.core.dht.messages import Answer, Request
    from p2p.core.dht.records import Verify
    from p2p.core.dht.sealing import Entropy

REFRESH: Final = 900.0
"""Seconds after which a bucket in which nothing happened is refreshed."""
LOOK: Final = 30.0
"""Seconds between two looks for such buckets."""
JOIN, JOIN_LONGEST = 0.5, 30.0
"""Seconds between looks around while the table still grows; twice as many each time."""
TOKENS: Final = 2048


@dataclass(slots=True)
class Counts:
    """What happened since the start."""

    requests: int = 0
    challenged: int = 0
    answers: int = 0
    unexpected: int = 0
    failed: int = 0
    admitted: int = 0


class Dht:
    """The node. ``families``: the lengths of addresses that it has sockets for."""

    def __init__(
        self,
        own: Own,
        *,
        verify: Verify,
        entropy: Entropy,
        now: float,
        families: frozenset[int] = frozenset((IPV4_BYTES, IPV6_BYTES)),
        k: int = K,
        contacts: int = CAPACITY,
    ) -> None:
        self.id = id_of(own.public)
        self.table = Table(self.id, k=k, capacity=contacts, now=now)
        self.records = Records()
        self.counts = Counts()
        self.admission = Admission(self.table, families=families)
        self.searches = Searches(self._begin)
        self._public = own.public
        self._k = k
        self._verify = verify
        self._entropy = entropy
        self._server = Server(
            own, table=self.table, records=self.records, verify=verify, entropy=entropy, now=now
        )
        self._calls = Calls()
        self._tokens: OrderedDict[Endpoint, bytes] = OrderedDict()
        self._join_at = float("inf")
        self._join_pause = JOIN
        self._joined = self._rounds = self._idle = 0
        self._look_at = now + LOOK
        self._internal = 0
        self._out: list[ev.Action] = []

    @property
    def refused(self) -> int:
        """Records of others that were not taken."""
        return self._server.refused

    # ── the three verbs ────────────────────────────────────────────────────────────────────────────

    def handle(self, event: ev.Event, now: float) -> list[ev.Action]:
        """Take an event; give what is to be done about it."""
        match event:
            case ev.Received(message=Ping() | Find() | Put()):
                self._asked(event, now)
            case ev.Received():
                self._answered(event, now)
            case ev.Seek() | ev.Provide():
                self.searches.add(event, self._out)
            case ev.Abandon(lookup=number):
                self.searches.drop(number)
                self._calls.end_lookup(number)
            case ev.Meet(endpoint=endpoint):
                self.admission.consider(endpoint, None, now)
            case ev.Tick():
                self._tick(now)
            case _:
                assert_never(event)
        self._settle(now)
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float:
        """When a ``Tick`` is due, on the shell's clock."""
        times = [self._calls.next_deadline(), self.admission.next_deadline(), self.searches.next_deadline()]
        return min([self._look_at, self._join_at, *(at for at in times if at is not None)])

    # ── what others want ───────────────────────────────────────────────────────────────────────────

    def _asked(self, event: ev.Received, now: float) -> None:
        request, endpoint = event.message, event.endpoint
        assert isinstance(request, Ping | Find | Put)
        if request.sender == self.id:
            self.counts.unexpected += 1
            return
        self.counts.requests += 1
        answer: Answer | None
        if self._server.is_proven(request, endpoint, now):
            answer = self._server.answer(request, endpoint, now, event.wall)
            if not self.admission.answered(request.sender, endpoint, now):
                self.admission.consider(endpoint, request.sender, now)
        else:
            self.counts.challenged += 1
            answer = self._server.challenge(request, endpoint, now)
            if len(encode(answer)) > event.size:
                return
        if answer is not None:
            self._out.append(ev.Transmit(endpoint, answer))

    # ── what others answer ─────────────────────────────────────────────────────────────────────────

    def _answered(self, event: ev.Received, now: float) -> None:
        message = event.message
        call = self._calls.find(message.request, event.endpoint)
        if call is None or message.sender == self.id:
            if self._calls.was_asked(message.request, event.endpoint):
                self.admission.answered(message.sender, event.endpoint, now)
            else:
                self.counts.unexpected += 1
            return
        if isinstance(message, Prove):
            self._prove(call, message, now)
            return
        match call.message, message:
            case Ping(), Pong():
                self._calls.end(call)
                self._pong(call, message, now)
            case Find(), Found():
                self._calls.end(call)
                if self._is_expected(call, message.sender, now):
                    contacts = [Contact(one.id, Endpoint(one.ip, one.port)) for one in message.contacts]
                    usable = [one for one in contacts if self.admission.reachable(one.endpoint)]
                    records = [
                        self._seen(one, call)
                        for one in message.records
                        if self._is_good(call, one, event.wall)
                    ]
                    news = self.searches.answered(call.lookup, message.sender, usable, records)
                    if news is not None:
                        self._out.append(news)
            case Put(), Stored():
                self._calls.end(call)
                if self._is_expected(call, message.sender, now):
                    self.searches.stored(call.lookup, message.sender)
            case _:
                self.counts.unexpected += 1

    def _prove(self, call: Call, message: Prove, now: float) -> None:
        if self._calls.prove(call, message.token, now):
            self._tokens[call.endpoint] = message.token
            self._tokens.move_to_end(call.endpoint)
            while len(self._tokens) > TOKENS:
                self._tokens.popitem(last=False)
            self._out.append(ev.Transmit(call.endpoint, call.message))

    def _pong(self, call: Call, message: Pong, now: float) -> None:
        self.counts.answers += 1
        if not call.expected:
            self.admission.done()
        known = self.table.get(message.sender)
        if known is None or known.endpoint != call.endpoint or known.peer_port != message.port:
            signed = pong_bytes(message.request, self.id, message.node, message.port)
            if id_of(message.public) != message.sender or not self._verify(
                message.public, message.signature, signed
            ):
                self.counts.unexpected += 1
                self._not_there(call, now)
                return
            self.admission.heard_at = now
            contact = Contact(message.sender, call.endpoint)
            if not len(self.table):
                self._join_at, self._join_pause = now, JOIN
                self._joined = self._rounds = self._idle = 0
            self.admission.admit(Member(message.public, contact, message.port, now), now)
            self.counts.admitted += 1
            self._out.append(ev.Admitted(contact, message.node, message.port))
        else:
            self.admission.answered(message.sender, call.endpoint, now)
        if call.expected != message.sender:
            self._not_there(call, now)

    def _is_expected(self, call: Call, sender: bytes, now: float) -> bool:
        """Whether the node answered that was asked; if it is not in the table yet, it may come in."""
        self.counts.answers += 1
        if not self.admission.answered(sender, call.endpoint, now):
            self.admission.consider(call.endpoint, sender, now)
        if call.expected == sender:
            return True
        self._not_there(call, now)
        return False

    def _not_there(self, call: Call, now: float) -> None:
        """Whoever was expected is not there: nobody, or another node under its old address."""
        if call.expected:
            self.admission.failed(call.expected, now)
            self.searches.failed(call.lookup, call.expected)

    def _is_good(self, call: Call, held: Held, wall: float) -> bool:
        assert isinstance(call.message, Find)
        record = held.record
        mine = record.public == self._public
        if mine or not record.port or record.key != call.message.key:
            return False
        return is_good(record, wall, self._verify)

    @staticmethod
    def _seen(held: Held, call: Call) -> Held:
        """Fill in the address of a provider that keeps its own record: it is where the answer came from."""
        return held if held.seen else Held(held.record, call.endpoint.ip)

    # ── what is to be done ─────────────────────────────────────────────────────────────────────────

    def _tick(self, now: float) -> None:
        for call, outcome in self._calls.overdue(now):
            if outcome is Outcome.RESENT:
                self._out.append(ev.Transmit(call.endpoint, call.message))
                if call.expected:
                    self.searches.late(call.lookup, call.expected)
                continue
            self.counts.failed += 1
            self._tokens.pop(call.endpoint, None)
            if not call.expected:
                self.admission.done()
            self._not_there(call, now)
        self._server.sweep(now)
        if now >= self._join_at:
            self._join(now)
        if now >= self._look_at:
            self._look_at = now + LOOK
            self.admission.look_after(now)
            for bucket in self.table.stale_buckets(now - REFRESH):
                self._refresh(bucket, now)

    def _join(self, now: float) -> None:
        """Look around near the own id, every other time all over the ring, until twice nobody new came."""
        known = len(self.table)
        self._idle = self._idle + 1 if known == self._joined and known >= self._k else 0
        self._joined = known
        if self._idle == 2:
            self._join_at = float("inf")
            return
        self._join_pause = min(2 * self._join_pause, JOIN_LONGEST)
        self._join_at = now + self._join_pause
        self._look_for(self.id)
        self._rounds += 1
        if self._rounds % 2 == 0:
            for bucket in self.table.buckets:
                if len(bucket) < self._k:
                    self._refresh(bucket, now)

    def _refresh(self, bucket: Bucket, now: float) -> None:
        """Look for any id in a bucket's range: those who answer on the way come into the table."""
        low, high = bucket.range
        bucket.touch(now)
        number = low + int.from_bytes(self._entropy(ID_BYTES), "big") % (high - low + 1)
        self._look_for(number.to_bytes(ID_BYTES, "big"))

    def _settle(self, now: float) -> None:
        for endpoint in self.admission.take(now):
            self._send(Ping(self._name(), self.id, self._token(endpoint)), endpoint, b"", 0, now)
        for member in self.admission.check(now):
            self._send(
                Ping(self._name(), self.id, self._token(member.endpoint)), member.endpoint, member.id, 0, now
            )
        while True:
            for search in self.searches.start(now):
                self._own_records(search, now)
            changed = self.searches.changed(now)
            if not changed:
                return
            for search in changed:
                self._advance(search, now)

    def _advance(self, search: Search, now: float) -> None:
        number, lookup = search.event.lookup, search.lookup
        if not search.putting:
            wanted = isinstance(search.event, ev.Seek) and search.event.enough > 0
            for one in lookup.next(now):
                find = Find(
                    self._name(),
                    self.id,
                    self._token(one.endpoint),
                    lookup.key,
                    wanted,
                )
                if not self._send(find, one.endpoint, one.id, number, now):
                    lookup.on_failure(one.id)
            if not lookup.over(now):
                return
            if isinstance(search.event, ev.Provide):
                self._put(search, now)
        if not search.puts or now >= search.until:
            self._calls.end_lookup(number)
            ended = self.searches.end(search, now)
            if number > 0:
                self._out.append(ended)

    def _put(self, search: Search, now: float) -> None:
        """The nearest nodes are known: leave the record with them, and keep it here if this is one."""
        assert isinstance(search.event, ev.Provide)
        self.searches.begin_puts(search)
        record = search.event.record
        near = search.lookup.closest()
        own = distance(self.id, record.key)
        if len(near) < self._k or own < distance(near[-1].id, record.key):
            near = near[: self._k - 1]
            self._server.keep(record, b"", now, search.event.wall)
        for one in near:
            put = Put(self._name(), self.id, self._token(one.endpoint), record)
            if self._send(put, one.endpoint, one.id, search.event.lookup, now):
                search.puts.add(one.id)

    def _begin(self, event: ev.Seek | ev.Provide, now: float) -> Lookup:
        key = event.key if isinstance(event, ev.Seek) else event.record.key
        enough = event.enough if isinstance(event, ev.Seek) else 0
        seeds = [one.contact for one in self.table.find_neighbors(Node(key), 2 * self._k)]
        self.table.touch(key, now)
        return Lookup(key, seeds, own=self.id, until=now + BUDGET, k=self._k, enough=enough)

    def _own_records(self, search: Search, now: float) -> None:
        if isinstance(search.event, ev.Seek):
            kept = self.records.get(search.lookup.key, now)
            fresh = search.lookup.take(one for one in kept if one.record.public != self._public)
            if fresh:
                self._out.append(ev.Discovered(search.event.lookup, tuple(fresh)))

    def _look_for(self, key: bytes) -> None:
        """Look for nodes, for the table's sake."""
        self._internal -= 1
        self.searches.add(ev.Seek(self._internal, key, 0), [])

    def _send(self, message: Request, endpoint: Endpoint, expected: bytes, lookup: int, now: float) -> bool:
        if self._calls.full:
            if not expected:
                self.admission.done()
            return False
        self._calls.begin(Call(message, endpoint, expected, lookup, now + RESEND))
        self._out.append(ev.Transmit(endpoint, message))
        return True

    def _name(self) -> bytes:
        return self._entropy(REQUEST_BYTES)

    def _token(self, endpoint: Endpoint) -> bytes:
        return self._tokens.get(endpoint, NO_TOKEN)
