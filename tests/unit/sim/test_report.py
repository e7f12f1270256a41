from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from p2p.sim.report import HEAD, against_honest, rows, table
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run

if TYPE_CHECKING:
    from p2p.sim.world import Result

ONE = Scenario("flash crowd", 8, size=SMALL)
TEMPLATE = run(ONE.but(nodes=2))


def test_seeds_of_one_scenario_share_a_row_that_tells_the_worst() -> None:
    results = [run(ONE.but(seed=seed)) for seed in (1, 2)] + [run(ONE.but(nodes=4))]
    found = rows(results)
    assert [(row[0], row[1], row[2]) for row in found] == [
        ("flash crowd", "8", "2"),
        ("flash crowd", "4", "1"),
    ]
    assert found[0][4] == f"{max(results[0].ratio, results[1].ratio):.3f}"
    text = table(results)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert HEAD[0] in text


def test_liars_are_compared_seed_by_seed() -> None:
    def result(name: str, seed: int, makespan: float, hostile: float = 0.0, **other: object) -> Result:
        scenario = ONE.but(name=name, seed=seed, hostile=hostile, **other)
        return replace(TEMPLATE, scenario=scenario, makespan=makespan, units=makespan, ratio=makespan)

    results = [
        *(result("honest", seed, 10.0 * seed) for seed in (1, 2, 3)),
        *(result("liars", seed, makespan, 0.5) for seed, makespan in ((1, 13.0), (2, 34.0), (3, 33.0))),
        result("other", 4, 9.0, 0.5),
        result("other", 1, 9.0, 0.5, nodes=4),
    ]
    slower = {1: 1.3, 2: 1.7, 3: 1.1}
    assert against_honest(results) == {("liars", 8): pytest.approx(slower)}
    told = [row[HEAD.index("× honest")] for row in rows(results)]
    assert told == ["", "1.30, worst 1.70 (seed 2)", "", ""]
