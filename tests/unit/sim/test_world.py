"""Whole runs at small size: they replay, they end, and their figures are right."""

from __future__ import annotations

import pytest

from p2p.core.swarm.chunks import MIB
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run

FLASH = Scenario("flash", 30, size=SMALL)


def test_a_seed_replays_exactly_and_another_one_does_not() -> None:
    one, again, other = run(FLASH), run(FLASH), run(FLASH.but(seed=2))
    assert (one.digest, one.makespan, one.events) == (again.digest, again.makespan, again.events)
    assert one.digest != other.digest


def test_a_flash_crowd_takes_one_copy_from_the_origin() -> None:
    result = run(FLASH)
    assert (result.completed, result.failed, result.bad) == (30, 0, 0)
    assert result.copies == pytest.approx(1.0)
    assert result.streams == 1
    assert result.makespan >= SMALL / FLASH.down, "nobody is faster than its link"
    assert result.median <= result.makespan == result.times[-1]


@pytest.mark.parametrize(("rate", "most"), [(125e6, 1.12), (12.5e6, 1.12), (5e6, 1.12), (1.25e6, 1.25)])
def test_a_crowd_takes_as_many_rounds_on_slow_links_as_on_fast_ones(rate: float, most: float) -> None:
    result = run(Scenario("slow", 16, size=512 * MIB, up=rate, down=rate, origin_rate=rate))
    assert result.copies == pytest.approx(1.0)
    assert result.ratio <= most


def test_requests_that_take_their_time_cost_a_crowd_little() -> None:
    """Who invites the next before the one before has asked serves all at once, and each of them late."""
    rate = 12.5e6
    result = run(Scenario("far", 16, size=256 * MIB, up=rate, down=rate, origin_rate=rate, latency=0.03))
    assert result.copies == pytest.approx(1.0)
    assert result.ratio <= 1.25, "it was 1.74"


def test_a_short_last_chunk_comes_last() -> None:
    result = run(Scenario("short", 4, size=SMALL + 5000, up=12.5e6, down=12.5e6, origin_rate=12.5e6))
    assert result.completed == 4
    assert result.makespan <= 1.12 * SMALL / 12.5e6


@pytest.mark.parametrize(("nodes", "most"), [(4, 1.4), (20, 1.3)])
def test_a_crowd_that_finds_one_seeder_is_about_as_fast_as_one_behind_the_origin(
    nodes: int, most: float
) -> None:
    result = run(Scenario("seeder", nodes, size=256 * MIB, seeders=1, origin_down=((0.0, 1e9),)))
    assert result.completed == nodes
    assert result.ratio <= most


def test_who_has_it_needs_no_origin() -> None:
    result = run(FLASH.but(seeders=1, origin_down=((0.0, 1e9),)))
    assert result.completed == 30
    assert result.copies == 0


@pytest.mark.slow
def test_nodes_die_and_the_others_complete() -> None:
    result = run(FLASH.but(churn=0.3, churn_span=1.0))
    assert result.completed == 21
    assert result.failed == 0


@pytest.mark.slow
def test_the_tracker_dies_in_the_middle() -> None:
    result = run(FLASH.but(known=8, tracker_down=((0.3, 1e9),)))
    assert result.completed == 30


@pytest.mark.slow
def test_without_a_tracker_the_origin_gives_few_copies() -> None:
    result = run(FLASH.but(tracker=False, known=8))
    assert result.completed == 30
    assert result.copies < 10


ZONES = Scenario(
    "zones", 16, size=SMALL, up=12.5e6, down=12.5e6, origin_rate=12.5e6, zones=2, zone_rate=6.25e6, far=0.01
)
"""Two zones, and half a node's rate between them."""


def test_one_copy_crosses_a_thin_uplink_at_its_pace() -> None:
    result = run(ZONES)
    assert (result.completed, result.failed) == (16, 0)
    assert result.copies == pytest.approx(1.0)
    assert result.cross_zone <= 1.1
    assert result.makespan <= 1.15 * SMALL / ZONES.zone_rate


def test_a_copy_that_dies_in_the_middle_crosses_again() -> None:
    result = run(ZONES.but(entry_dies=5.0, known=8))
    assert (result.completed, result.failed) == (15, 0)
    assert 1.0 < result.cross_zone <= 2.0


def test_without_the_tracker_who_let_it_in_goes_on() -> None:
    result = run(ZONES.but(tracker_down=((5.0, 1e9),), known=8))
    assert (result.completed, result.failed) == (16, 0)
    assert result.cross_zone <= 2.0
