from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.sim.report import HEAD, draw, rows, table
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run

if TYPE_CHECKING:
    from pathlib import Path

ONE = Scenario("flash crowd", 8, size=SMALL)


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


@pytest.mark.slow
def test_plots_are_drawn_twice_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = [run(ONE)]
    files = draw(results, tmp_path / "a")
    assert sorted(path.name for path in files) == sorted(
        f"{name}.{kind}" for name in ("makespan", "origin", "completion") for kind in ("png", "svg")
    )
    draw(results, tmp_path / "b")
    for path in files:
        if path.suffix == ".svg":
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert path.stat().st_size < 200_000
