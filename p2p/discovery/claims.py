"""Who may go to the origin when no tracker keeps leases: a deterministic order, spread over time.

Each node ranks itself among the nodes it knows by a hash of node and digest. The first one goes after
``SETTLE`` seconds, in which peers hear of each other, the others would go ``STEP`` seconds after each other,
and by then have found the first one's chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.swarm.herald import weight

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

SETTLE = 0.100
"""Long enough for a link (four times the latency) and a first word of others; where latency is some ten
milliseconds a crowd reads a few hundredths of a copy more than after 0.25 s, and begins that much sooner."""
STEP = 0.150
JITTER = 0.050
MOST = 1.0
"""Longest wait for others: most of the nodes known do not want the digest. The few who want it among many all
have late ranks; by then they have met, and of those who begin at once all but one yield."""


def delay(node: str, digest: str, others: Iterable[str], rng: Random) -> float:
    """Give the seconds that ``node`` waits before it claims the origin, knowing the ids of ``others``.

    0 where no others are known; else ``SETTLE`` and its rank among them times ``STEP``, at most ``MOST``,
    plus up to ``JITTER``.
    """
    known = dict.fromkeys(others)
    known.pop(node, None)
    if not known:
        return 0.0
    own = weight(node, digest)
    rank = sum(weight(other, digest) < own for other in known)
    return SETTLE + min(rank * STEP, MOST) + rng.random() * JITTER
