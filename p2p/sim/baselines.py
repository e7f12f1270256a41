"""Other rules in the same simulator, to compare with. They move bytes as we do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.swarm.swarm import Swarm
    from p2p.sim.scenario import Scenario
    from p2p.sim.world import World


class Remora:
    """Our own."""

    def tune(self, swarm: Swarm, scenario: Scenario) -> None:
        """Change nothing."""

    def begin(self, world: World) -> None:
        """Change nothing."""


RULES = {"remora": Remora()}
