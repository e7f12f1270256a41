"""Datagrams that are not for a node, by the million: it says nothing, notes them, and its memory stays."""

from __future__ import annotations

import os
import random
import socket
import time
from datetime import UTC, datetime
from typing import Any

from bench.dht_network import Process
from p2p.core.dht.replay import ReplayWindow
from p2p.core.dht.sealing import MAX_DATAGRAM, Sealer
from p2p.discovery.dht.crypto import AesGcm
from tests.support.dht_nodes import KEY

FULL, SHORT = 10_000_000, 200_000
STEP = 20_000
FRIENDLY = 1000
"""Datagrams of the other node, at most."""
GROWTH = 4_000_000
"""Bytes of memory that may come and go: an interpreter is never quite still."""
KINDS = 512
"""Different datagrams, sent in turns: making each anew would measure the sender."""


def garbage(seed: int) -> list[bytes]:
    """Make them: random bytes of any length, headers that look right, foreign, stale, forged, malformed."""
    rng = random.Random(seed)
    wall = datetime.now(UTC).timestamp()
    ours = Sealer((KEY,), aead=AesGcm(), entropy=os.urandom, replays=ReplayWindow())
    foreign = Sealer((rng.randbytes(32),), aead=AesGcm(), entropy=os.urandom, replays=ReplayWindow())
    out: list[bytes] = []
    for number in range(KINDS):
        words = rng.randbytes(rng.randrange(600))
        good = bytearray(ours.seal(words, wall))
        match number % 8:
            case 0:
                out.append(rng.randbytes(rng.randrange(1400)))
            case 1:
                out.append(rng.randbytes(MAX_DATAGRAM + 1 + rng.randrange(6000)))
            case 2:
                out.append(foreign.seal(words, wall))
            case 3:
                out.append(ours.seal(words, wall - 31 - rng.randrange(10**6)))
            case 4 | 5:
                good[rng.randrange(13, len(good))] ^= 1 + rng.randrange(255)
                out.append(bytes(good))
            case 6:
                out.append(bytes(good[: rng.randrange(len(good))]))
            case _:
                out.append(bytes(good))  # by a member, and no message; then a replay
    return out


class Sender:
    """Sends as fast as the node takes it; what overflowed its socket never was at the node."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, int(port)))
        self._socket.setblocking(False)
        self._pause = 0.0005
        self._kinds = garbage(0)
        self.sent = self.replies = 0

    def send(self, count: int) -> None:
        """Send so many, with a pause after each few."""
        for number in range(count):
            try:
                self._socket.send(self._kinds[number % KINDS])
                self.sent += 1
            except BlockingIOError:
                time.sleep(self._pause)  # noqa: TID251
            if number % 64 == 63:
                time.sleep(self._pause)  # noqa: TID251
        self._count_replies()

    def adapt(self, lost: float) -> None:
        """Go slower where much was lost, else faster; and make the datagrams anew, for clocks go on."""
        self._pause = min(0.01, max(0.00002, self._pause * (1.5 if lost > 0.02 else 0.8)))
        self._kinds = garbage(self.sent)

    def close(self) -> None:
        """Close its socket."""
        self._socket.close()

    def _count_replies(self) -> None:
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            self.replies += 1


def flood(short: bool) -> dict[str, Any]:
    """Run it; ``broken`` names the promises that did not hold."""
    total = SHORT if short else FULL
    target = Process([0])
    friend = Process([1])
    try:
        address = target.ask("start", [0], [])["0"]
        friend.ask("start", [1], [address])
        target.ask("provide", {0: ["blob"]})
        sender = Sender(address)
        sender.send(20_000)  # every code path once, and the interpreter's own caches
        before = target.ask("figures", 0)
        begun, last = time.perf_counter(), before["received"]
        while last - before["received"] < total:
            already = sender.sent
            sender.send(STEP)
            now = target.ask("figures", 0)["received"]
            sender.adapt(1 - (now - last) / (sender.sent - already))
            last = now
        seconds = time.perf_counter() - begun
        after = target.ask("figures", 0)
        (found,) = friend.ask("find", 1, ["blob"])
    finally:
        target.end()
        friend.end()
    received = after["received"] - before["received"]
    grown = after["memory"] - before["memory"]
    ignored = sum(after["dropped"].values()) - sum(before["dropped"].values())
    return {
        "datagrams": received,
        "thrown": sender.sent,
        "rate": f"{received / seconds:,.0f} a second for {seconds:.0f} s",
        "replies": sender.replies,
        "dropped": after["dropped"],
        "memory_before_mb": round(before["memory"] / 1e6, 2),
        "memory_after_mb": round(after["memory"] / 1e6, 2),
        "answers_afterwards": f"yes, in {found * 1000:.1f} ms" if found >= 0 else "no",
        "broken": [
            words
            for words, holds in (
                ("it replied", sender.replies == 0),
                ("it took some for good", received - ignored <= FRIENDLY),
                ("its memory grew", grown <= GROWTH),
                ("it answers no more", found >= 0),
                ("it printed something", not target.said and not friend.said),
            )
            if not holds
        ],
    }
