"""The ways of discovery around production's machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World

if TYPE_CHECKING:
    from p2p.core.swarm.origin import OriginTurn


def world(**changes: object) -> World:
    made = World(Scenario("control", 5, size=SMALL, arrival=0.0).but(**changes))
    made.begin()
    return made


def turns(made: World) -> list[OriginTurn]:
    return [node.swarm.turn for node in made.nodes]


def test_the_tracker_gives_one_lease() -> None:
    made = world()
    made.heap.run(0.02, lambda: False)
    assert sum(turn.granted for turn in turns(made)) == 1
    assert sum(turn.held_elsewhere for turn in turns(made)) == 4
    assert made.tracker.core.counters.leases_granted == 1


def test_without_it_each_knows_when_its_turn_comes() -> None:
    made = world(tracker=False, known=4)
    made.heap.run(2.0, lambda: False)
    assert 1 <= made.origin.streams <= 3, "one after the other, and who comes later follows"
    assert made.origin.copies < 2


def test_a_node_that_loses_its_tracker_goes_on_with_those_it_knows() -> None:
    made = world(known=4, tracker_down=((0.05, 1e9),))
    made.heap.run(0.1, lambda: False)
    assert not made.tracker.up
    assert all(made.control(node)._fallback.next_deadline() is not None for node in made.nodes)
