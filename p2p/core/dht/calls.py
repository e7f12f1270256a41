"""Requests under way: each is sent again once when no answer comes, and given up after that."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from p2p.core.dht.messages import Find, Ping, Put

if TYPE_CHECKING:
    from p2p.core.dht.contact import Endpoint
    from p2p.core.dht.messages import Request

RESEND: Final = 0.250
TRIES: Final = 2
LAG: Final = 0.100
"""Seconds that a deadline may be noticed late before that counts as this node's own fault."""
CAPACITY: Final = 2048
REMEMBERED: Final = 1024
"""Requests that were given up and may be answered yet."""
PROOFS: Final = 2
"""Challenges that are answered for one request: a token may have run out in between, once."""


class Outcome(Enum):
    """What a deadline brought."""

    RESENT = auto()
    GIVEN_UP = auto()


@dataclass(slots=True)
class Call:
    """A request that waits. ``expected``: who should answer, empty for whoever is there.

    ``lookup`` is what it belongs to, 0 for the node's own pings.
    """

    message: Request
    endpoint: Endpoint
    expected: bytes
    lookup: int
    due: float
    tries: int = 1
    proofs: int = 0
    excused: bool = False


class Calls:
    """All of them by request id, at most ``capacity``."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._calls: dict[bytes, Call] = {}
        self._due: list[tuple[float, bytes]] = []
        self._given_up: OrderedDict[bytes, Endpoint] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def full(self) -> bool:
        """Whether no more fit."""
        return len(self._calls) >= self._capacity

    def begin(self, call: Call) -> None:
        """Note a request that is sent now."""
        self._calls[call.message.request] = call
        heapq.heappush(self._due, (call.due, call.message.request))

    def find(self, request: bytes, endpoint: Endpoint) -> Call | None:
        """Give the request that was sent there under this id."""
        call = self._calls.get(request)
        return call if call is not None and call.endpoint == endpoint else None

    def was_asked(self, request: bytes, endpoint: Endpoint) -> bool:
        """Whether this answers a request that was given up: late, and a sign of life all the same."""
        return self._given_up.pop(request, None) == endpoint

    def end(self, call: Call) -> None:
        """It was answered, or nobody waits for it."""
        self._calls.pop(call.message.request, None)

    def end_lookup(self, lookup: int) -> None:
        """Drop all requests of a lookup."""
        for request in [request for request, call in self._calls.items() if call.lookup == lookup]:
            self._give_up(self._calls[request])

    def prove(self, call: Call, token: bytes, now: float) -> bool:
        """Put a new token into a request that is sent once more; False where that was done too often."""
        if call.proofs >= PROOFS:
            return False
        call.proofs += 1
        call.message = with_token(call.message, token)
        call.due = now + RESEND
        heapq.heappush(self._due, (call.due, call.message.request))
        return True

    def overdue(self, now: float) -> list[tuple[Call, Outcome]]:
        """Give the requests whose time is over: those to be sent again, and those that are given up."""
        out: list[tuple[Call, Outcome]] = []
        while self._due and self._due[0][0] <= now:
            due, request = heapq.heappop(self._due)
            call = self._calls.get(request)
            if call is None or call.due != due:
                continue  # answered, or put off by a challenge
            if now - due > LAG and not call.excused:
                # It is we who are late: the answer may lie unread in the socket.
                call.excused = True
                call.due = now + RESEND
                heapq.heappush(self._due, (call.due, request))
            elif call.tries < TRIES:
                call.tries += 1
                call.due = now + RESEND
                heapq.heappush(self._due, (call.due, request))
                out.append((call, Outcome.RESENT))
            else:
                self._give_up(call)
                out.append((call, Outcome.GIVEN_UP))
        return out

    def _give_up(self, call: Call) -> None:
        del self._calls[call.message.request]
        self._given_up[call.message.request] = call.endpoint
        while len(self._given_up) > REMEMBERED:
            self._given_up.popitem(last=False)

    def next_deadline(self) -> float | None:
        """When ``overdue`` may have something to give."""
        return self._due[0][0] if self._due else None


def with_token(message: Request, token: bytes) -> Request:
    """Give the same request under another token."""
    match message:
        case Ping(request=request, sender=sender):
            return Ping(request, sender, token)
        case Find(request=request, sender=sender, key=key, records=records):
            return Find(request, sender, token, key, records)
        case Put(request=request, sender=sender, record=record):
            return Put(request, sender, token, record)
