"""Other rules in the same simulator, to compare with. They move bytes as we do.

``plain`` are BitTorrent's without its tit for tat: whom a node knows it asks, whatever it lacks, locally
rarest first; every chunk is told to everybody at once. ``in-order`` are the same with the lowest chunk first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from p2p.core.swarm.offer import Offer
from p2p.core.swarm.picker import Rarity

if TYPE_CHECKING:
    from p2p.core.swarm.swarm import Swarm
    from p2p.sim.telling import Teller

UNBOUND = 1 << 30


class Rules(Protocol):
    """What a node does otherwise."""

    def tune(self, swarm: Swarm, teller: Teller) -> None:
        """Change a node before it starts."""
        ...


class Remora:
    """Our own."""

    def tune(self, swarm: Swarm, teller: Teller) -> None:
        """Change nothing."""


class Everybody(Offer):
    """Tells everybody at once."""

    def _next(self, served: int) -> float:
        del served
        return float("-inf")


class Lowest(Rarity):
    """Takes the lowest chunk for the rarest."""

    def rarest(self, candidates: int) -> int:
        """Give the lowest one."""
        return candidates & -candidates


class Plain:
    """No turns, and as many requests under way as the peers' windows allow."""

    def tune(self, swarm: Swarm, teller: Teller) -> None:
        """Take out what is ours."""
        teller.offer = Everybody(teller.rng)
        swarm._schedule._depth = lambda: UNBOUND  # type: ignore[method-assign]


class InOrder(Plain):
    """Plain, with the lowest chunk first."""

    def tune(self, swarm: Swarm, teller: Teller) -> None:
        """Take out what is ours, rarity included."""
        super().tune(swarm, teller)
        swarm.members.rarity = Lowest()


RULES: dict[str, Rules] = {"remora": Remora(), "plain": Plain(), "in-order": InOrder()}
