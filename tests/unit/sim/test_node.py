"""A node does with its swarm what the shells do."""

from __future__ import annotations

from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World


def world(nodes: int = 12, until: float = 0.4, **changes: object) -> World:
    made = World(Scenario("node", nodes, size=SMALL).but(**changes))
    made.begin()
    made.heap.run(until, lambda: False)
    return made


def test_one_that_dies_is_gone_for_all() -> None:
    made = world()
    dead = made.nodes[3]
    watching = [watch.node for watch in dead.teller.watches.values()]
    assert watching
    made._dies(dead)
    made.heap.run(made.heap.now + 0.05, lambda: False)
    assert all(dead.name not in node.swarm.peers for node in watching)


def test_what_is_not_held_is_not_given() -> None:
    made = world(until=0.2)
    node = made.nodes[0]
    missing = next(index for index in range(64) if not node.bits >> index & 1)
    assert node.chunks(missing, 1) == [None]
