"""What is worse elsewhere is worse here."""

from __future__ import annotations

import pytest

from p2p.sim.baselines import Lowest
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run


def test_the_lowest_is_taken_for_the_rarest() -> None:
    rarity = Lowest()
    rarity.rebuild([0b1100])
    assert rarity.rarest(0b1110) == 0b10


@pytest.mark.slow
def test_plain_rules_are_slower_and_in_order_slower_still() -> None:
    crowd = Scenario("crowd", 30, size=SMALL, seeders=1)
    ours = run(crowd)
    plain = run(crowd.but(tracker=False, known=10, rules="plain"))
    ordered = run(crowd.but(tracker=False, known=10, rules="in-order"))
    assert {one.completed for one in (ours, plain, ordered)} == {30}
    assert ours.makespan < plain.makespan < ordered.makespan
