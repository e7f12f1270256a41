"""A node's rate limits over production's token buckets and queues, as ``p2p.transfer.limits`` has them.

What a node receives is granted, step by step, before it is asked for: here nothing slows a sender down whose
receiver reads slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev
from p2p.core.swarm.fair_queue import FairQueue
from p2p.transfer.limits import MOST_RECEIVED, MOST_SENT, bucket, step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable

    from p2p.config import LimitSettings
    from p2p.core.swarm import actions as act
    from p2p.sim.heap import Heap
    from p2p.sim.node import Node


@dataclass(slots=True, eq=False)
class _Taker:
    size: int
    granted: Callable[[], None]
    wanted: Callable[[], bool]


class Limit:
    """One limit of ``rate`` bytes a second; ``taken`` bytes so far."""

    def __init__(self, heap: Heap, rate: int, most: int) -> None:
        self.step = step_of(rate, most)
        self.taken = 0
        self._heap = heap
        self._bucket = bucket(rate, self.step)
        self._queue: FairQueue[_Taker] = FairQueue()
        self._armed = False

    def take(
        self, key: Hashable, size: int, granted: Callable[[], None], wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Call ``granted`` as soon as ``size`` bytes may pass, unless it is not ``wanted`` by then."""
        self._queue.enter(key, size, _Taker(size, granted, wanted))
        self._serve()

    def _serve(self) -> None:
        now = self._heap.now
        while not self._armed and (first := self._queue.first()) is not None:
            wanted = first.wanted()
            if wanted and (wait := self._bucket.delay(first.size, now)):
                self._armed = True
                self._heap.at(now + wait, self._wake)
                return
            self._queue.leave(first, served=wanted)
            if wanted:
                self._bucket.take(first.size, now)
                self.taken += first.size
                first.granted()

    def _wake(self) -> None:
        self._armed = False
        self._serve()


class Limits:
    """All limits of one node; ``prefetching``: no client waits for what it gets."""

    def __init__(self, heap: Heap, settings: LimitSettings, *, prefetching: bool) -> None:
        self.up = Limit(heap, settings.up, MOST_SENT) if settings.up else None
        self.down = Limit(heap, settings.down, MOST_RECEIVED) if settings.down else None
        self.origin = Limit(heap, settings.origin, MOST_RECEIVED) if settings.origin else None
        self.prefetch = (
            Limit(heap, settings.prefetch, MOST_RECEIVED) if settings.prefetch and prefetching else None
        )

    def chain(self, *, origin: bool) -> tuple[Limit, ...]:
        """Limits of a byte that comes, the parts before the whole."""
        found = self.prefetch, self.origin if origin else None, self.down
        return tuple(one for one in found if one is not None)

    def ask(
        self, node: Node, action: act.Request, ask: Callable[[], None], under_way: Container[int]
    ) -> None:
        """Call ``ask`` when the answer to a node's request may come, if that is still among ``under_way``.

        Until then it is not late.
        """
        heap, content, request = node.world.heap, node.world.content, action.request
        chain = self.chain(origin=action.provider is None)
        if not chain:
            ask()
            return

        def done() -> None:
            heap.at(heap.now, node.post, ev.RequestHeld(request, held=False))
            ask()

        size = content.layout.length(action.first, action.count)
        if not Taking(chain, content.name, size, done, lambda: request in under_way).over:
            heap.at(heap.now, node.post, ev.RequestHeld(request, held=True))


class Taking:
    """Takes ``size`` bytes from each of a ``chain``, in steps; calls ``done`` when it has all."""

    def __init__(
        self,
        chain: tuple[Limit, ...],
        key: Hashable,
        size: int,
        done: Callable[[], None],
        wanted: Callable[[], bool],
    ) -> None:
        self.over = False
        self._chain = chain
        self._key = key
        self._left = size
        self._done = done
        self._wanted = wanted
        self._step = min(one.step for one in chain)
        self._next(0)

    def _next(self, at: int) -> None:
        if at == len(self._chain):
            self._left -= min(self._step, self._left)
            at = 0
        if self._left:
            size = min(self._step, self._left)
            self._chain[at].take(self._key, size, lambda: self._next(at + 1), self._wanted)
        else:
            self.over = True
            self._done()
