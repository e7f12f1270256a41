"""Which providers a wanter is told of, in which order, and when it is told again.

A plan draws from a window of the blob's holders, so that its cost does not grow with the swarm: with a
thousand holders each wanter sees other ones. Those that the fewest plans name come first: every node then has
about as many subscribers as every other one, and enough of them to find somebody who wants what it has. While
there are few holders the other wanters are named too: they will have chunks soon, and the links to them stand
by then. How many are served at once is the uploader's own affair (``p2p.core.swarm.offer``).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.core.wire.common import Provider
    from tracker.peer_table import Node, PeerTable, Wanting

PLAN_SIZE = 30
SEEDERS = 8
"""Places in a plan that are kept for complete providers: nobody else has the rarest chunks for sure."""

POOL_WHOLE, POOL_PART = 24, 90
"""Complete and partial holders (and wanters) that a plan is drawn from."""

REPEATS = 3
"""How often a full plan is pushed again unchanged before it is drawn anew."""

EXPIRES_IN = 3.0
REFRESH = 2.0
"""Seconds after which a plan is pushed anew though nothing changed: before it expires."""

PAUSE = 0.1
"""Least seconds between two plans for the same want."""

_MASK = 0xFFFFFFFF


def mix(a: int, b: int) -> int:
    """Mix two 32-bit numbers into one: the deterministic tie-break, and where a window begins."""
    x = (a * 0x9E3779B1 ^ b * 0x85EBCA77) & _MASK
    x = (x ^ x >> 15) * 0x2C1B3C6D & _MASK
    x = (x ^ x >> 12) * 0x297A2D39 & _MASK
    return x ^ x >> 15


def still_good(wanting: Wanting) -> bool:
    """Whether the last plan is full and all its providers still hold the blob, or want it."""
    blob = wanting.blob
    return len(wanting.providers) == PLAN_SIZE and all(
        name in blob.complete or name in blob.partial or name in blob.wants for name in wanting.providers
    )


def choose(table: PeerTable, wanting: Wanting, holder: Node | None) -> tuple[Provider, ...]:
    """Rank up to ``PLAN_SIZE`` providers for a want and count it among their children.

    ``holder`` (of the lease, None where there is none or it is the wanter) is always among them. The
    wanter itself and those it can't reach are not.
    """
    blob, wanter = wanting.blob, wanting.node
    point = mix(wanter.point, blob.point)
    pool: dict[str, bool] = dict.fromkeys(blob.complete.window(point, POOL_WHOLE), True)
    pool.update(dict.fromkeys(blob.partial.window(point, POOL_PART), False))
    if len(pool) < POOL_PART and wanting.plan is not None:
        # Not in the first plan: who asks a moment later must be named as often as who came first.
        for name in blob.waiting.window(point, POOL_PART):
            pool.setdefault(name, False)
    pool.pop(wanter.id, None)
    if holder is not None:
        pool.setdefault(holder.id, holder.id in blob.complete)
    ranked: list[tuple[int, bool, int, str]] = []
    nodes, unreachable, named = table.nodes, wanting.unreachable, frozenset(wanting.providers)
    ours = point * 0x9E3779B1
    for name, whole in pool.items():
        if name in unreachable:
            continue
        node = nodes[name]
        # ``mix(point, node.point)``, written out: most of a busy tracker's time goes by in this loop.
        x = (ours ^ node.point * 0x85EBCA77) & _MASK
        x = (x ^ x >> 15) * 0x2C1B3C6D & _MASK
        x = (x ^ x >> 12) * 0x297A2D39 & _MASK
        ranked.append((node.children - (name in named), not whole, x ^ x >> 15, name))
    ranked.sort()
    chosen = _cut(ranked, holder.id if holder is not None else "")
    names = tuple(name for *_, name in chosen)
    table.assign(wanting, names)
    if len(names) < PLAN_SIZE:
        blob.hungry[wanter.id] = wanting
    else:
        blob.hungry.pop(wanter.id, None)
    return tuple(nodes[name].part if partial else nodes[name].whole for _, partial, _, name in chosen)


def _cut(ranked: list[tuple[int, bool, int, str]], holder: str) -> list[tuple[int, bool, int, str]]:
    """Keep the first ``PLAN_SIZE``, with room made at the end for seeders and the lease's holder."""
    if len(ranked) <= PLAN_SIZE:
        return ranked
    must = [one for one in ranked[PLAN_SIZE:] if one[3] == holder]
    kept = ranked[: PLAN_SIZE - len(must)]
    rest = [one for one in ranked[len(kept) :] if one[3] != holder]
    lacking = max(0, SEEDERS - sum(not one[1] for one in kept + must))
    seeders = [one for one in rest if not one[1]][:lacking]
    if seeders:
        spare = {one[3] for one in [one for one in kept if one[1] and one[3] != holder][-len(seeders) :]}
        kept = [one for one in kept if one[3] not in spare]
        must += seeders[: len(spare)]
    return kept + must


class Pushes:
    """When each want's plan is due. Of those that are, the one whose last plan expires first goes first.

    Two heaps whose stale entries are skipped: by the time they are due, and, of those that are, by the time
    of the last plan. In a rush there is more to do than time: who would like more providers waits behind
    whoever is about to be left with none.
    """

    def __init__(self) -> None:
        self._later: list[tuple[float, int, Wanting]] = []
        self._ready: list[tuple[float, float, int, Wanting]] = []
        self._count = 0

    def schedule(self, wanting: Wanting, at: float) -> None:
        """Have a plan made at ``at`` unless one is due earlier; never within ``PAUSE`` of the last."""
        at = max(at, wanting.pushed + PAUSE)
        if at < wanting.due:
            wanting.due = at
            self._count += 1
            heapq.heappush(self._later, (at, self._count, wanting))

    def take(self, now: float, limit: int) -> list[Wanting]:
        """Give up to ``limit`` wants whose plan is due; each is taken as pushed at ``now``."""
        later, ready = self._later, self._ready
        while later and later[0][0] <= now:
            at, count, wanting = heapq.heappop(later)
            if wanting.alive and wanting.due == at:
                heapq.heappush(ready, (wanting.pushed, at, count, wanting))
        taken: list[Wanting] = []
        while ready and len(taken) < limit:
            _, at, _, wanting = heapq.heappop(ready)
            if wanting.alive and wanting.due == at:
                wanting.pushed, wanting.due = now, float("inf")
                taken.append(wanting)
        return taken

    def next_deadline(self) -> float | None:
        """When the next plan is due."""
        while self._ready and not (self._ready[0][3].alive and self._ready[0][3].due == self._ready[0][1]):
            heapq.heappop(self._ready)
        if self._ready:
            return self._ready[0][1]
        while self._later and not (self._later[0][2].alive and self._later[0][2].due == self._later[0][0]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None
