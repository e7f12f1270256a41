from __future__ import annotations

from p2p.sim.scenario import Scenario


def test_one_is_made_from_another() -> None:
    one = Scenario("a", 10)
    other = one.but(seed=7, name="b")
    assert (other.seed, other.name, other.nodes) == (7, "b", 10)
    assert one.seed == 1
