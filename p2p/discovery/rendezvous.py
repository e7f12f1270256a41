"""Which trackers are in charge of a key (a digest, a tag): rendezvous hashing, the same at every node.

Each tracker has a weight for each key, and the heaviest ones have it. So one that is added or lost moves
the keys that it has or had, and no others. Thaler and Ravishankar, "Using name-based mappings to increase
hit rates", 1998.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REPLICAS = 2
"""Trackers that are told of a key."""


def weight(tracker: str, key: str) -> bytes:
    """Give a tracker's weight for a key; ``tracker`` is the URL that all nodes know it by."""
    return hashlib.blake2b(f"{tracker}\n{key}".encode(), digest_size=8).digest()


def ranking(trackers: Sequence[str], key: str) -> tuple[int, ...]:
    """Give the places in ``trackers`` of all of them, the first in charge first."""
    if len(trackers) == 1:
        return (0,)
    return tuple(sorted(range(len(trackers)), key=lambda place: weight(trackers[place], key), reverse=True))
