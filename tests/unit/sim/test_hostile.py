"""Each kind of liar beside honest nodes: the nodes complete with the right bytes, none is banned."""

from __future__ import annotations

import pytest

from p2p.core.swarm.chunks import MIB
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "share", "kinds"),
    [(18, 0.28, {"data", "list", "bitfield", "size", "mute"}), (21, 0.43, {kind.value for kind in LIARS})],
    ids=["none gives a thing", "two are slow"],
)
def test_who_claims_everything_holds_the_origin_back_for_moments(
    nodes: int, share: float, kinds: set[str]
) -> None:
    """Nobody honest has it: soon one node reads the origin for all, and no other one does."""
    scenario = Scenario("unseeded", nodes, size=256 * MIB, hostile=share)
    made = world_module.World(scenario)
    result = made.run()
    assert {liar.kind.value for liar in made.liars} == kinds
    assert (result.completed, result.bad, result.banned_honest) == (nodes, 0, 0)
    assert result.copies <= 1.01
    assert result.ratio <= 3.0


def test_a_seeder_that_keeps_pace_keeps_the_origin_out() -> None:
    """All wait for what it gives, and it gives as much as anybody could."""
    result = run(Scenario("seeded", 8, size=512 * MIB, up=12.5e6, down=12.5e6, seeders=1))
    assert (result.completed, result.copies) == (8, 0.0)
