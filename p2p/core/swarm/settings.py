"""What a swarm can be told."""

from __future__ import annotations

from dataclasses import dataclass

from p2p.core.swarm.chunks import MIB


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """``peers`` linked at most; ``grace`` seconds without readers before it ends.

    ``links``: chunks can be verified one by one (a libcrypto was found). ``run`` bytes: most asked with
    one request. ``zone``: this node's, empty: none.
    """

    peers: int = 30
    grace: float = 30.0
    links: bool = True
    run: int = 8 * MIB
    zone: str = ""
