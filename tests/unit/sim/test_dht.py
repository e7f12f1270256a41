"""The DHT under a simulated crowd: all join by one contact, and know of each other what production knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm.settings import SwarmSettings
from p2p.sim.catalog import LIARS_SIZE
from p2p.sim.scenario import Scenario
from p2p.sim.world import World, run

if TYPE_CHECKING:
    from p2p.core.wire.common import Provider
    from p2p.sim.dht import Member

ALONE = Scenario("dht", 24, size=LIARS_SIZE, tracker=False, dht=True)


def member(world: World, number: int) -> Member:
    found = world.control(world.nodes[number]).dht
    assert found is not None
    return found


def test_all_join_by_one_contact_and_find_who_has_a_blob() -> None:
    world = World(ALONE.but(loss=0.05))
    world.begin()
    world.heap.run(-1.0, lambda: False)
    assert min(len(member(world, number).core.table) for number in range(24)) >= 8
    found: list[tuple[Provider, ...]] = []
    member(world, 3).seek("sha256:x", found.append)
    world.heap.run(-0.5, lambda: False)
    member(world, 7).provide("sha256:x")
    world.heap.run(-0.3, lambda: False)
    member(world, 5).seek("sha256:x", found.append)
    world.heap.run(0.5, lambda: len(found) == 2)
    assert found == [(), (world.nodes[7].provider,)]


def test_a_cold_crowd_reads_one_copy_and_replays() -> None:
    result = run(ALONE)
    assert (result.completed, result.failed, result.streams) == (24, 0, 1)
    assert result.copies == 1.0
    known = run(ALONE.but(dht=False, known=23))
    assert result.makespan <= 1.1 * known.makespan, "as fast as where all know all from the start"
    assert run(ALONE).digest == result.digest


def test_who_comes_late_finds_the_complete_ones() -> None:
    world = World(ALONE.but(seeders=1, origin_down=((0.0, 1e9),)))
    assert world.run().completed == 24


def test_a_tracker_that_dies_is_replaced_by_the_dht() -> None:
    result = run(ALONE.but(tracker=True, tracker_down=((0.5, 1e9),)))
    assert result.completed == 24
    assert result.copies < 1.2


def test_few_that_want_the_same_among_many_meet_and_read_one_copy() -> None:
    few = ALONE.but(nodes=4, idle=60, exchange=True, contacts=12, swarm=SwarmSettings(peers=6))
    result = run(few)
    assert (result.completed, result.copies, result.streams) == (4, 1.0, 1)


def test_one_complete_node_among_many_is_found_and_gets_a_seat() -> None:
    result = run(ALONE.but(nodes=6, idle=60, seeders=1, exchange=True, origin_down=((0.0, 1e9),)))
    assert (result.completed, result.failed) == (6, 0)
