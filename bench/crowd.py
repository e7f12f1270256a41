"""``python -m bench.crowd URL``: thousands of a tracker's nodes in one process, without their transfers.

They speak the protocol over WebSockets of their own, which cost less than a node's: what is measured is the
tracker. Prints one JSON object with what they saw. ``bench.tracker`` starts it.
"""

from __future__ import annotations

import base64
import json
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
import msgpack
import trio

from bench.figures import quantile
from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.wire import tracker as wire
from p2p.core.wire.codec import encode
from p2p.core.wire.common import PROTOCOL_VERSION, Holding

if TYPE_CHECKING:
    from msgspec import Struct

SIZE = 64 << 20
CHUNKS = Layout(SIZE).count
ANNOUNCE_EVERY = 1.0
PROGRESS_EVERY = 0.25
CONNECTING = 64
"""Handshakes under way at once."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """``nodes`` want the same ``blobs``, all beginning ``within`` seconds, and have them ``seconds`` later.

    Each holds ``holdings`` other blobs from the start.
    """

    nodes: int
    blobs: int
    within: float
    seconds: float
    holdings: int


@dataclass(slots=True)
class Seen:
    """What all clients saw. ``waits``: seconds from a want to its first plan; ``gaps``: between its plans."""

    waits: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """By how much this process ran behind its own clock: what it adds to every wait."""
    unanswered: int = 0
    plans: int = 0
    received: int = 0
    granted: dict[str, int] = field(default_factory=dict)
    """Digest → how often its lease was granted anew."""
    connected: int = 0
    finished: int = 0
    all_here: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)

    def report(self) -> dict[str, Any]:
        """Give the figures for JSON."""
        return {
            "waits_ms": {name: _ms(quantile(self.waits or [0.0], share)) for name, share in SHARES},
            "gaps_s": {name: round(quantile(self.gaps or [0.0], share), 2) for name, share in SHARES},
            "client_late_ms": {name: _ms(quantile(self.late or [0.0], share)) for name, share in SHARES},
            "wants": len(self.waits),
            "unanswered": self.unanswered,
            "plans": self.plans,
            "received_bytes": self.received,
            "leases_granted_most": max(self.granted.values(), default=0),
            "finished": self.finished,
        }


SHARES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def frame(message: Struct) -> bytes:
    """Write a message as a client's frame, masked with zeroes: RFC 6455 asks for a mask, not for which."""
    data = encode(message)
    if len(data) < 126:
        head = bytes((0x82, 0x80 | len(data)))
    elif len(data) < 65536:
        head = bytes((0x82, 0xFE)) + len(data).to_bytes(2, "big")
    else:
        head = bytes((0x82, 0xFF)) + len(data).to_bytes(8, "big")
    return head + bytes(4) + data


class Frames:
    """A server's frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; gives (opcode, payload) of each whole frame."""
        self._data += data
        found: list[tuple[int, bytes]] = []
        at = 0
        while len(self._data) >= at + 2:
            length, start = self._data[at + 1], at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                length = int.from_bytes(self._data[start : start + width], "big")
                start += width
            if len(self._data) < start + length:
                break
            found.append((self._data[at] & 0x0F, bytes(self._data[start : start + length])))
            at = start + length
        del self._data[:at]
        return found


class Client:
    """One node."""

    def __init__(self, number: int, crowd: Crowd, seen: Seen, blobs: list[str]) -> None:
        self._number = number
        self._crowd = crowd
        self._seen = seen
        self._blobs = blobs
        self._asked: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._leases: dict[str, int] = {}
        self._stream: trio.SocketStream
        self._lock = trio.Lock()

    async def run(
        self, address: str, limit: trio.CapacityLimiter, begin: trio.Event, rng: random.Random
    ) -> None:
        """Connect, tell what it holds, wait for the crowd to begin, and live through it."""
        async with limit:
            await self._connect(address)
        self._seen.connected += 1
        if self._seen.connected == self._crowd.nodes:
            self._seen.all_here.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await begin.wait()
            await trio.sleep(rng.random() * self._crowd.within)
            await self._pull(rng)
            if self._seen.finished == self._crowd.nodes:
                self._seen.over.set()
            await self._seen.over.wait()  # as a seeder
            nursery.cancel_scope.cancel()
        await self._stream.aclose()

    async def _connect(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._stream = await trio.open_tcp_stream(host, int(port))
        key = base64.b64encode(os.urandom(16)).decode()
        await self._stream.send_all(
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self._stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
        node = f"{self._number:032x}"
        hello = wire.NodeHello(PROTOCOL_VERSION, node, f"node-{self._number}", "10.0.0.1", 5001)
        held = tuple(
            Holding(str(Digest.of(f"other {self._number % 40} {n}".encode())), SIZE, CHUNKS, True)
            for n in range(self._crowd.holdings)
        )
        await self._send(hello, *([wire.Announce(held)] if held else []))

    async def _send(self, *messages: Struct, pong: bytes | None = None) -> None:
        data = b"".join(map(frame, messages))
        if pong is not None:
            data += bytes((0x8A, 0x80 | len(pong))) + bytes(4) + pong
        async with self._lock:
            await self._stream.send_all(data)

    async def _read(self) -> None:
        frames = Frames()
        while data := await self._stream.receive_some(65536):
            self._seen.received += len(data)
            for opcode, payload in frames.feed(data):
                if opcode == 0x9:
                    await self._send(pong=payload)
                elif opcode == 0x2:
                    self._take(msgpack.unpackb(payload))
                else:
                    raise AssertionError(f"opcode {opcode}: {payload[:200]!r}")
        raise AssertionError("the tracker closed the connection")

    def _take(self, message: list[Any]) -> None:
        match message:
            case ["plan", digest, _, _, lease, epoch, *_]:
                now = trio.current_time()
                self._seen.plans += 1
                if (asked := self._asked.pop(digest, None)) is not None:
                    self._seen.waits.append(now - asked)
                elif digest in self._told:
                    self._seen.gaps.append(now - self._told[digest])
                self._told[digest] = now
                if lease == "granted" and self._leases.get(digest) != epoch:
                    self._leases[digest] = epoch
                    self._seen.granted[digest] = self._seen.granted.get(digest, 0) + 1
            case ["stand", digests]:
                now = trio.current_time()
                for digest in digests:
                    self._seen.gaps.append(now - self._told[digest])
                    self._told[digest] = now
            case ["lost", digest, _]:
                self._leases.pop(digest, None)
            case ["refused", reason]:
                raise AssertionError(reason)

    async def _pull(self, rng: random.Random) -> None:
        began = trio.current_time()
        ends = began + self._crowd.seconds * (0.75 + 0.25 * rng.random())
        self._asked = dict.fromkeys(self._blobs, began)
        await self._send(*(wire.Want(digest, SIZE, True) for digest in self._blobs))
        announced = began + rng.random() * ANNOUNCE_EVERY
        while (now := trio.current_time()) < ends:
            share = (now - began) / (ends - began)
            out: list[Struct] = []
            if now >= announced:
                announced += ANNOUNCE_EVERY
                chunks = max(1, int(share * (CHUNKS - 1)))
                out.append(wire.Announce(tuple(Holding(d, SIZE, chunks, False) for d in self._blobs)))
            out += [
                wire.LeaseProgress(digest, epoch, int(share * SIZE) + 1)
                for digest, epoch in self._leases.items()
            ]
            if out:
                await self._send(*out)
            wake = min(ends, announced, now + PROGRESS_EVERY if self._leases else ends)
            await trio.sleep_until(wake)
            self._seen.late.append(trio.current_time() - wake)
        releases = [wire.LeaseRelease(digest, epoch, True) for digest, epoch in self._leases.items()]
        whole = wire.Announce(tuple(Holding(digest, SIZE, CHUNKS, True) for digest in self._blobs))
        await self._send(*releases, whole)
        self._seen.unanswered += len(self._asked)
        self._seen.finished += 1


async def run(address: str, crowd: Crowd, begin: trio.Event, seen: Seen) -> None:
    """Be the crowd; it begins when all are connected and ``begin`` is set."""
    blobs = [str(Digest.of(f"blob {n} of the image".encode())) for n in range(crowd.blobs)]
    limit = trio.CapacityLimiter(CONNECTING)
    async with trio.open_nursery() as nursery:
        for number in range(1, crowd.nodes + 1):
            client = Client(number, crowd, seen, blobs)
            nursery.start_soon(client.run, address, limit, begin, random.Random(number))


async def _main(address: str, crowd: Crowd) -> None:
    seen, begin = Seen(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, address, crowd, begin, seen)
        await seen.all_here.wait()
        print(json.dumps({"event": "ready"}), flush=True)
        await trio.to_thread.run_sync(input)
        begin.set()
    print(json.dumps({"event": "done", **seen.report()}), flush=True)


@click.command()
@click.argument("address", metavar="HOST:PORT")
@click.option("--nodes", default=2000, show_default=True)
@click.option("--blobs", default=8, show_default=True)
@click.option("--within", default=5.0, show_default=True)
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--holdings", default=100, show_default=True)
def main(address: str, nodes: int, blobs: int, within: float, seconds: float, holdings: int) -> None:
    """Connect a crowd to a tracker; a line on stdin begins it."""
    trio.run(_main, address, Crowd(nodes, blobs, within, seconds, holdings))


if __name__ == "__main__":
    main(prog_name="python -m bench.crowd")
