from __future__ import annotations

from p2p.core.swarm.chunks import MIB
from p2p.sim.catalog import SIZES, groups


def test_every_scenario_is_of_the_size_that_was_asked_for() -> None:
    short, whole = groups(100, 3), groups(10_000, 500)
    assert max(one.nodes for group in short.values() for one in group) == 100
    assert [one.nodes for one in whole["crowd"]] == list(SIZES)
    assert [one.seed for one in short["hostile"]] == [1, 2, 3]
    assert len(whole["hostile"]) == len(whole["honest"]) == 500
    assert all(one.seeders == 1 and one.nodes == 5 for one in whole["besieged"])
    assert [(one.nodes, one.size) for one in whole["seeder"]] == [
        (nodes, chunks * 4 * MIB) for chunks in (64, 256) for nodes in (20, 100)
    ]
