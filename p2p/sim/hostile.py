"""Peers that lie, stall or drag. They have no swarm: they only answer."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.swarm.midstates import Midstates
    from p2p.core.wire.common import Provider
    from p2p.sim.network import Host
    from p2p.sim.node import Node
    from p2p.sim.world import World


class Kind(Enum):
    """What is wrong with a peer."""

    DATA = "data"
    """False chunks under the true list."""
    LIST = "list"
    """False chunks, and a list that they fit."""
    BITFIELD = "bitfield"
    """It claims everything and has nothing."""
    SIZE = "size"
    """It claims another size."""
    MUTE = "mute"
    """It takes requests and never answers."""
    SLOW = "slow"
    """Honest, with a twentieth of the bandwidth."""


LIARS = tuple(Kind)


class Liar:
    """A hostile or slow peer that claims the whole blob."""

    def __init__(
        self, world: World, kind: Kind, number: int, name: str, provider: Provider, host: Host
    ) -> None:
        self.world = world
        self.kind = kind
        self.number = number
        self.name = name
        self.provider = provider
        self.host = host
        self.up = self.alive = True
        self._chunks: list[bytes] = world.content.chunks
        self._states: Midstates = world.content.full
        if kind is Kind.SLOW:
            host.up /= 20
        elif kind is Kind.DATA:
            self._chunks = world.content.forged("false")[0]
        elif kind is Kind.LIST:
            self._chunks, self._states = world.content.forged("forged")

    def watched(self, by: Node, name: str) -> None:
        """Claim everything."""
        heap = self.world.heap
        heap.at(heap.now + self.world.network.latency(self.host, by.host), self._claim, by, name)

    def _claim(self, by: Node, name: str) -> None:
        size = self.world.content.size
        if self.kind is Kind.SIZE:
            size += 1 << 20
        by.post(ev.PeerState(name, size, complete=True))
        by.post(ev.PeerMidstates(name, 0, self._states.states, self.world.list_id(self._states)))

    def unwatched(self, by: Node) -> None:
        """Nothing is pushed."""

    def chunks(self, first: int, count: int) -> Sequence[bytes | None] | None:
        """Answer in the way of its kind."""
        if self.kind is Kind.MUTE:
            return None
        if self.kind is Kind.BITFIELD:
            return [None] * count
        return self._chunks[first : first + count]
