"""What the front end shows of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestStatistics:
    """Counters since the start.

    ``requests`` by (route, status), the route being ``blob``, ``manifest``, ``tags``, …; ``sent`` bytes
    of blobs and manifests given to clients; ``hits`` and ``misses``: whether what a client asked for was
    complete here when it asked; ``stale_tags`` answered without their origin.
    """

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: int = 0
    hits: int = 0
    misses: int = 0
    stale_tags: int = 0
