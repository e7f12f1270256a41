"""Slow answers are told of while their bytes come."""

from __future__ import annotations

from p2p.net.receive import GLANCE
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World


def received(rate: float) -> list[int]:
    """Bytes that a node's swarm was told of, of the answers under way after a moment."""
    world = World(Scenario("two", 2, size=SMALL, seeders=1, up=rate, down=rate))
    world.begin()
    world.heap.run(1.2 * GLANCE, lambda: False)
    return [one.received for one in world.nodes[-1].swarm.requests.pending.values() if one.received]


def test_a_slow_answer_is_told_of() -> None:
    so_far = received(1e6)
    assert so_far
    assert sum(so_far) <= 1e6 * GLANCE * 1.2


def test_fast_ones_are_through_before_anybody_looks() -> None:
    assert not received(SMALL / GLANCE)
