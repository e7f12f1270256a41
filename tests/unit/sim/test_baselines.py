from __future__ import annotations

from p2p.sim.baselines import RULES


def test_ours_is_among_them() -> None:
    assert "remora" in RULES
