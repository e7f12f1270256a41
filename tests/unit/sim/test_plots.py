from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.sim.plots import draw
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run

if TYPE_CHECKING:
    from pathlib import Path

ONE = Scenario("flash crowd", 8, size=SMALL)


@pytest.mark.slow
def test_plots_are_drawn_twice_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = [run(ONE), run(ONE.but(name="liars", hostile=0.3))]
    files = draw(results, tmp_path / "a")
    assert sorted(path.name for path in files) == sorted(
        f"{name}.{kind}"
        for name in ("makespan", "origin", "completion", "hostile")
        for kind in ("png", "svg")
    )
    vectors = draw(results, tmp_path / "b", ["svg"])
    assert sorted(path.name for path in vectors) == [
        "completion.svg",
        "hostile.svg",
        "makespan.svg",
        "origin.svg",
    ]
    for path in vectors:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
        assert path.stat().st_size < 100_000


@pytest.mark.slow
def test_what_nothing_was_run_for_is_not_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = draw([run(ONE.but(name="liars", hostile=0.3))], tmp_path)
    assert files == []
