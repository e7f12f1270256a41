from __future__ import annotations

import pytest

from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World, run

ONE = Scenario("origin", 1, size=SMALL)


def test_one_node_takes_one_copy_as_fast_as_the_slower_line() -> None:
    fast, slow = run(ONE), run(ONE.but(origin_rate=ONE.down / 2))
    assert fast.copies == slow.copies == pytest.approx(1.0)
    assert fast.makespan == pytest.approx(SMALL / ONE.down, rel=0.1)
    assert slow.makespan == pytest.approx(2 * SMALL / ONE.down, rel=0.1)


def test_an_origin_that_is_down_for_a_moment_is_asked_again() -> None:
    world = World(ONE.but(origin_down=((0.1, 0.25),)))
    result = world.run()
    assert result.completed == 1
    assert world.origin.streams > 1
    assert result.copies == pytest.approx(1.0, abs=0.1), "it goes on where it stopped"


def test_one_that_stays_down_fails_who_has_nobody_else() -> None:
    result = run(ONE.but(origin_down=((0.0, 1e9),)))
    assert (result.completed, result.failed) == (0, 1)
