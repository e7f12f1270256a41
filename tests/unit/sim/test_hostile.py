"""Each kind of liar beside honest nodes: the nodes complete with the right bytes, none is banned."""

from __future__ import annotations

import pytest

from p2p.sim import world as world_module
from p2p.sim.hostile import LIARS, Kind
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import run


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIARS, ids=[kind.value for kind in LIARS])
def test_one_kind_alone(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "LIARS", (kind,))
    result = run(Scenario("hostile", 10, size=SMALL // 2, hostile=0.5, origin_latency=0.05))
    assert (result.completed, result.bad) == (10, 0)
    assert result.banned_honest == result.accused_honest == 0
