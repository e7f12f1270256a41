"""Which providers a wanter is told of, in which order, and when it is told again.

A plan draws from a window of the blob's holders, so that its cost does not grow with the swarm: with a
thousand holders each wanter sees other ones. Those that the fewest plans name come first: every node then has
about as many subscribers as every other one, and enough of them to find somebody who wants what it has. While
there are few holders the other wanters are named too: they will have chunks soon, and the links to them stand
by then. How many are served at once is the uploader's own affair (``p2p.core.swarm.offer``).

Where zones have budgets (``tracker.zones``) a plan is drawn from the wanter's zone alone, or, for the one
node that lets a blob in, half from the others. Of the wanter's rack come up to half of the providers, first.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from tracker.zones import ANY, ENTRY

if TYPE_CHECKING:
    from p2p.core.wire.common import Provider
    from tracker.peer_table import Blob, Node, PeerTable, Wanting
    from tracker.places import Place

PLAN_SIZE = 30
SEEDERS = 8
"""Places in a plan that are kept for complete providers: nobody else has the rarest chunks for sure."""

POOL_WHOLE, POOL_PART = 24, 90
"""Complete and partial holders (and wanters) that a plan is drawn from."""

FAR = 15
"""Places in an entry's plan for providers of other zones, and those of a rack in the plans of its nodes."""

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


def choose(table: PeerTable, wanting: Wanting, holder: Node | None, reach: str = ANY) -> tuple[Provider, ...]:
    """Rank up to ``PLAN_SIZE`` providers for a want and count it among their children.

    ``holder`` (of the lease, None where there is none or it is the wanter) is always among them, where the
    ``reach`` of the want allows it. The wanter itself and those it can't reach are not.
    """
    blob, wanter = wanting.blob, wanting.node
    point = mix(wanter.point, blob.point)
    if reach == ANY:
        pool = _pool(blob, wanting, point)
    else:
        near = blob.places.find(wanter.zone)
        pool = _pool(near, wanting, point) if near is not None else {}
        if holder is not None and reach != ENTRY and holder.zone != wanter.zone:
            holder = None
    rack = blob.places.find(wanter.places[1]) if len(wanter.places) > 1 else None
    if rack is not None:
        pool.update(_pool(rack, wanting, point))
    pool.pop(wanter.id, None)
    if holder is not None:
        pool.setdefault(holder.id, holder.id in blob.complete)
    chosen = _rank(table, wanting, pool, point)
    if rack is not None:
        beside = [one for one in chosen if table.nodes[one[3]].places == wanter.places][:FAR]
        chosen = beside + [one for one in chosen if one not in beside]
    if reach == ENTRY:
        far = {name: whole for name, whole in _pool(blob, wanting, point).items() if name not in pool}
        far = {name: whole for name, whole in far.items() if table.nodes[name].zone != wanter.zone}
        others = _cut(_rank(table, wanting, far, point), "", FAR)
        chosen = _cut(chosen, holder.id if holder is not None else "", PLAN_SIZE - len(others)) + others
    else:
        chosen = _cut(chosen, holder.id if holder is not None else "")
    names = tuple(name for *_, name in chosen)
    table.assign(wanting, names)
    if len(names) < PLAN_SIZE:
        blob.hungry[wanter.id] = wanting
    else:
        blob.hungry.pop(wanter.id, None)
    nodes = table.nodes
    return tuple(nodes[name].part if partial else nodes[name].whole for _, partial, _, name in chosen)


def _pool(place: Blob | Place, wanting: Wanting, point: int) -> dict[str, bool]:
    """Give those a plan may be drawn from, of the cluster, a zone or a rack, and whether they have it all."""
    pool: dict[str, bool] = dict.fromkeys(place.complete.window(point, POOL_WHOLE), True)
    pool.update(dict.fromkeys(place.partial.window(point, POOL_PART), False))
    if len(pool) < POOL_PART and wanting.plan is not None:
        # Not in the first plan: who asks a moment later must be named as often as who came first.
        for name in place.waiting.window(point, POOL_PART):
            pool.setdefault(name, False)
    pool.pop(wanting.node.id, None)
    return pool


def _rank(
    table: PeerTable, wanting: Wanting, pool: dict[str, bool], point: int
) -> list[tuple[int, bool, int, str]]:
    """Order a pool: who the fewest plans name first, then complete ones, then by chance."""
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
    return ranked


def _cut(
    ranked: list[tuple[int, bool, int, str]], holder: str, size: int = PLAN_SIZE
) -> list[tuple[int, bool, int, str]]:
    """Keep the first ``size``, with room made at the end for seeders and the lease's holder."""
    if len(ranked) <= size:
        return ranked
    must = [one for one in ranked[size:] if one[3] == holder]
    kept = ranked[: size - len(must)]
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
