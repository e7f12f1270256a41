"""Several blobs at the same nodes: a world for each blob, on one clock, with one link for each node.

What a node shares between blobs is its link, the origin's line and time. The swarms and offers are of each
blob alone, as production's are. The tracker's count of children is so too, which production keeps over all.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, TypeVar

from p2p.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2p.sim.network import Host
    from p2p.sim.scenario import Scenario
    from p2p.sim.world import Result

T = TypeVar("T")


class Beside(World):
    """A world whose nodes sit on the hosts of the ``first`` one."""

    def __init__(self, scenario: Scenario, first: World) -> None:
        super().__init__(scenario)
        self._first = first
        self.heap, self.network = first.heap, first.network
        self.origin.shares(first.origin)

    def _host(self, number: int) -> Host:
        return self._first.nodes[number].host


def run_together(scenarios: Sequence[Scenario]) -> list[Result]:
    """Simulate scenarios, one for each blob, of as many nodes each; nodes of one number are one host.

    Links, latency, loss and zones are those of the first one, whose ``limit`` ends all. The origin's copies
    in each result are all bytes that were read there, in that blob's size.
    """
    first = World(scenarios[0])
    worlds = [first, *(Beside(one, first) for one in scenarios[1:])]
    for world in worlds:
        world.begin()
    for nodes in zip(*(world.nodes for world in worlds), strict=True):
        nodes[0].host.freed = _all([node.teller.freed for node in nodes])
        nodes[0].host.asked = _all([node.teller.asked for node in nodes])
    gc.disable()
    try:
        first.heap.run(first.scenario.limit, lambda: all(world.over for world in worlds))
    finally:
        gc.enable()
    return [world.result() for world in worlds]


def _all(calls: list[Callable[[T], None]]) -> Callable[[T], None]:
    def call(told: T) -> None:
        for one in calls:
            one(told)

    return call
