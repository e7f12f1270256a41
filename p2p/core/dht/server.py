"""What a node answers: nothing but a challenge before the asker's address is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from kademlia.node import Node  # type: ignore[import-untyped]  # ships no types

from p2p.core.dht.contact import id_of
from p2p.core.dht.messages import Find, Found, Held, Ping, Place, Pong, Prove, Put, Stored, encode
from p2p.core.dht.records import LIFE, Records, Sign, Verify, is_good
from p2p.core.dht.sealing import MAX_MESSAGE
from p2p.core.dht.tokens import Tokens

if TYPE_CHECKING:
    from p2p.core.dht.contact import Endpoint
    from p2p.core.dht.messages import Answer, Record, Request
    from p2p.core.dht.routing import Table
    from p2p.core.dht.sealing import Entropy

_PONG: Final = b"remora dht pong\0"
SWEEP: Final = 30.0


def pong_bytes(request: bytes, asker: bytes, node: bytes, port: int) -> bytes:
    """Give what a pong's signature is over: the question, who asked it, and who the node is as a peer."""
    return _PONG + request + asker + node + port.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Own:
    """What a node is: its public key, how it signs, and as a peer its id (16 bytes) and port."""

    public: bytes
    sign: Sign
    node: bytes
    peer_port: int


class Server:
    """Answers the requests of others."""

    def __init__(
        self, own: Own, *, table: Table, records: Records, verify: Verify, entropy: Entropy, now: float
    ) -> None:
        self._own = id_of(own.public)
        self._me = own
        self._table = table
        self._records = records
        self._verify = verify
        self._entropy = entropy
        self._tokens = Tokens(entropy, now)
        self._sweep_at = now + SWEEP
        self.refused = 0
        """Records that were not taken: wrongly signed, out of time, or in excess."""

    def is_proven(self, request: Request, endpoint: Endpoint, now: float) -> bool:
        """Whether the asker showed that it receives where it says that it is."""
        return self._tokens.holds(request.token, endpoint, request.sender, now)

    def challenge(self, request: Request, endpoint: Endpoint, now: float) -> Prove:
        """Give a token to ask again with; as short as the shortest request."""
        return Prove(request.request, self._own, self._tokens.give(endpoint, request.sender, now))

    def answer(self, request: Request, endpoint: Endpoint, now: float, wall: float) -> Answer | None:
        """Answer a proven asker; None for a record that is refused."""
        match request:
            case Ping(request=name, sender=asker):
                me = self._me
                signature = me.sign(pong_bytes(name, asker, me.node, me.peer_port))
                return Pong(name, self._own, me.public, me.node, me.peer_port, signature)
            case Find():
                return self._found(request, now)
            case Put(request=name, record=record, sender=asker):
                # Only the provider itself may leave its record: then ``seen`` is its address.
                if asker != id_of(record.public) or not self.keep(record, endpoint.ip, now, wall):
                    self.refused += 1
                    return None
                return Stored(name, self._own)

    def keep(self, record: Record, seen: bytes, now: float, wall: float) -> bool:
        """Take a record if it is good and there is room."""
        if not is_good(record, wall, self._verify):
            return False
        return self._records.put(Held(record, seen), now + min(record.expires - wall, LIFE))

    def sweep(self, now: float) -> None:
        """Drop records that ran out, now and then."""
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP
            self._records.expire(now)

    def _found(self, request: Find, now: float) -> Found:
        near = self._table.find_neighbors(Node(request.key), exclude=Node(request.sender))
        places = tuple(Place(one.id, one.ip, one.port) for one in near)
        held = self._records.get(request.key, now) if request.records else []
        return Found(request.request, self._own, places, self._fitting(request.request, places, held))

    def _fitting(self, request: bytes, places: tuple[Place, ...], held: list[Held]) -> tuple[Held, ...]:
        """Choose records that fit into one datagram, beginning anywhere: askers unite what they get."""
        if not held:
            return ()
        room = MAX_MESSAGE - len(encode(Found(request, self._own, places, ()))) - 2  # a longer array's header
        start = int.from_bytes(self._entropy(2), "big") % len(held)
        chosen: list[Held] = []
        for one in (*held[start:], *held[:start]):
            room -= len(msgspec.msgpack.encode(one))
            if room < 0:
                break
            chosen.append(one)
        return tuple(chosen)
