from __future__ import annotations

import pytest

from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.core.wire.tracker import Announce, ClientHello, NodeHello, Plan, ToTracker, Want
from tracker.core import Tracker
from tracker.events import Close, Connected, Disconnected, Event, Received, Send, Tick

SIZE = 10 << 20


def node_id(name: str) -> str:
    return name.encode().hex().ljust(32, "0")[:32]


class World:
    """A tracker with a clock, and what every connection was sent."""

    def __init__(self, start: float = -100.0, **options: object) -> None:
        self.now = 0.0
        self.tracker = Tracker(start, **options)  # type: ignore[arg-type]  # passed through
        self.sent: dict[int, list[object]] = {}
        self.closed: dict[int, str] = {}
        self.conns = 0

    def do(self, event: Event) -> None:
        for action in self.tracker.handle(event, self.now):
            match action:
                case Send(conn=conn, message=message):
                    self.sent.setdefault(conn, []).append(message)
                case Close(conn=conn, reason=reason):
                    self.closed[conn] = reason

    def node(self, name: str, port: int = 5001) -> int:
        self.conns += 1
        hello = NodeHello(PROTOCOL_VERSION, node_id(name), name, "", port)
        self.do(Connected(self.conns, hello, "10.0.0.1"))
        return self.conns

    def client(self) -> int:
        self.conns += 1
        self.do(Connected(self.conns, ClientHello(PROTOCOL_VERSION), "10.0.0.1"))
        return self.conns

    def say(self, conn: int, message: ToTracker) -> None:
        self.do(Received(conn, message))

    def want(self, conn: int, digest: str, *, lease: bool = True, unreachable: tuple[str, ...] = ()) -> None:
        self.say(conn, Want(digest, SIZE, lease, unreachable))

    def have(self, conn: int, digest: str, chunks: int = 10) -> None:
        self.say(conn, Announce((Holding(digest, SIZE, chunks, complete=chunks == 10),)))

    def leave(self, conn: int) -> None:
        self.do(Disconnected(conn))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.tracker.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(Tick())
        self.now = until
        self.do(Tick())

    def of(self, conn: int, kind: type) -> list:
        return [message for message in self.sent.get(conn, []) if isinstance(message, kind)]

    def plan(self, conn: int) -> Plan:
        return self.of(conn, Plan)[-1]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> type[World]:
    return World
