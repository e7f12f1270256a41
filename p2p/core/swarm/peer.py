"""What a swarm knows of one peer: what it holds, how its list compares, how fast it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.swarm.bitfield import Bitfield
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.wire.common import Provider

UNMET_LIMIT = 2
"""Claims that a peer may fail to meet before it is left alone."""

OVERTAKEN_LIMIT = 2
"""Requests in a row that others answer sooner before a slow peer is left alone."""

REFUSED_LIMIT = 3
"""Times that a peer which sends us nothing may say that its upload slots are taken before it is dropped."""

RUN_SECONDS = 1.0
"""One request should not take a peer longer than this."""

TARGET_SECONDS = 0.25
"""A peer's requests under way should keep it busy for about so long (bandwidth × delay, generously)."""


@dataclass(slots=True)
class Peer:
    """One linked provider.

    ``have`` is None until its first state. ``length`` states of its list agree with ours; ``states`` is its
    list where it is no part of ours: it goes on behind ours, or it disagrees (``dissent``). ``rate`` bytes
    a second, smoothed, 0 before the first answer.
    """

    provider: Provider
    since: float
    have: Bitfield | None = None
    complete: bool = False
    states: Midstates | None = None
    length: int = 0
    dissent: bool = False
    requests: int = 0
    rate: float = 0.0
    heard: float = 0.0
    """When it told of chunks last: it tells when it has time to serve them."""
    unmet: int = 0
    chunks: int = 0
    vouched: bool = False
    """It sent its list after it said that it has everything: it has proven this list, or it lies."""
    doubt: tuple[int, float] | None = None
    """A chunk of it that failed, and until when it may say that its list has changed; not asked meanwhile."""
    doubts: int = 0
    overtaken: int = 0
    """Requests in a row that were late and were given up, or that another peer answered."""
    refused: int = 0
    """Times that it was busy, since its last chunk, while it sent us nothing."""
    idle: bool = False
    """It said that it has nothing and gathers nothing."""
    far: bool = False
    """In another zone: asked only for what nobody near has."""
    direct: bool = False
    """Not linked: a one-chunk blob is asked for at once."""

    def measured(self, size: int, seconds: float) -> None:
        """Count an answer of ``size`` bytes that took ``seconds``."""
        rate = size / max(seconds, 1e-4)
        self.rate = rate if not self.rate else 0.7 * self.rate + 0.3 * rate

    def window(self, run: int) -> int:
        """How many requests of ``run`` bytes may be under way to it: 2 to 4, by bandwidth × delay."""
        if not self.rate:
            return 2
        return max(2, min(4, int(self.rate * TARGET_SECONDS / max(run, 1))))

    def run(self, chunk: int, most: int) -> int:
        """How many chunks of ``chunk`` bytes to ask for with one request, 1 to ``most``; 1 while untried."""
        return max(1, min(most, int(self.rate * RUN_SECONDS) // chunk))
