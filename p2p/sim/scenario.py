"""What is simulated: a few numbers, and a seed that makes the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from p2p.config import LimitSettings
from p2p.core.dht.routing import CAPACITY
from p2p.core.swarm.chunks import GIB, MIB
from p2p.core.swarm.settings import SwarmSettings

GIGABIT = 125e6
NO_LIMITS = LimitSettings()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rates in bytes a second, times in seconds, shares from 0 to 1.

    ``nodes`` honest nodes that all want the blob, ``arrival`` seconds apart at most; ``seeders`` of them have
    it already. ``idle`` others take part and want nothing. ``hostile`` peers for each honest node, of all
    kinds in turn. ``tracker_down``: from when to when, also more than once; ``origin_down`` alike. ``known``:
    peers each node knows without the tracker.
    ``dht``: all are in the DHT, which each joined by one other. ``exchange``: peers tell of others.
    ``contacts``: most nodes that one knows by the DHT.
    ``entry_dies``: when the node that lets the blob into a zone dies, 0: it does not.
    ``churn``: share of nodes that die at some time within ``churn_span``; half of them are replaced.
    ``limits``: of each node; ``prefetch`` where nobody streams.
    ``rules``: ``remora``, or a baseline (``p2p.sim.baselines``).
    """

    name: str
    nodes: int
    seed: int = 1
    size: int = GIB
    up: float = GIGABIT
    down: float = GIGABIT
    slots: int = 4
    latency: float = 0.0005
    far: float = 0.0
    zones: int = 1
    zone_rate: float = 0.0
    loss: float = 0.0
    verify_rate: float = 1.5e9
    origin_rate: float = GIGABIT
    origin_latency: float = 0.01
    arrival: float = 0.01
    seeders: int = 0
    idle: int = 0
    streaming: bool = False
    tracker: bool = True
    known: int = 0
    dht: bool = False
    contacts: int = CAPACITY
    exchange: bool = False
    tracker_down: tuple[tuple[float, float], ...] = ()
    origin_down: tuple[tuple[float, float], ...] = ()
    hostile: float = 0.0
    entry_dies: float = 0.0
    churn: float = 0.0
    churn_span: float = 5.0
    limits: LimitSettings = NO_LIMITS
    rules: str = "remora"
    limit: float = 600.0
    swarm: SwarmSettings = field(default_factory=SwarmSettings)

    def but(self, **changes: object) -> Scenario:
        """Give the same with some things otherwise."""
        return replace(self, **changes)  # type: ignore[arg-type]


SMALL = 64 * MIB
"""A blob of 64 chunks of a MiB, where the number of chunks does not matter."""
