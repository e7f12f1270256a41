"""A node's rate limits: who waits for which bytes, and for how long.

Bytes are granted in steps before they are read or sent, so that TCP pushes back on whoever sends more. A
limit that is part of another one (``prefetch`` and ``origin`` of ``down``) is waited for first: only what it
lets through counts in the whole. Where a limit is not set there is no object to ask.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.core.swarm.fair_queue import FairQueue
from p2p.core.swarm.settings import SwarmSettings
from p2p.core.swarm.token_bucket import TokenBucket
from p2p.transfer.api import LimitReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator

    from p2p.config import LimitSettings

STEP_SECONDS: Final = 0.05
LEAST_STEP: Final = 16 * 1024
MOST_SENT: Final = 256 * 1024
MOST_RECEIVED: Final = 1024 * 1024
"""Bytes of one grant: about ``STEP_SECONDS`` of the rate, so that many takers get some each second."""

BURST_SECONDS: Final = 0.25
"""Of the rate: what was not used may be used later. A busy process wakes up late, and must not lose by it."""

TURN_RATE: Final = 64 * 1024
"""Bytes a second that each request to a peer should get. With less for each, servers take us for too slow."""

MOST_TURNS: Final = 64
PREFETCH_TURNS: Final = 4
"""So that prefetches, each of which keeps a buffer while it waits, leave enough of them to clients."""

ALONE: Final = 128 * 1024
"""Requests up to this size (manifests, small blobs) need no turn."""

RUN_SECONDS: Final = 0.5
"""One request to a peer asks for no more than ``down`` lets through in this time, or for one chunk."""


class Body(Protocol):
    """What can be read in parts: a peer's answer, an origin's."""

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the body reaches; gives how many bytes."""
        ...


class _Waiter:
    __slots__ = ("awake",)

    def __init__(self) -> None:
        self.awake = trio.Event()


def step_of(rate: int, most: int) -> int:
    """Give the bytes of one grant of a limit, at most ``most``."""
    return max(LEAST_STEP, min(most, int(rate * STEP_SECONDS)))


def bucket(rate: int, step: int) -> TokenBucket:
    """Make the bucket of a limit of which ``step`` bytes are taken at once."""
    return TokenBucket(rate, max(2 * step, rate * BURST_SECONDS))


class Limiter:
    """One limit of ``rate`` bytes a second; ``waited``: seconds that takers waited for it, all together."""

    def __init__(self, rate: int, *, most: int = MOST_RECEIVED, turns: int = MOST_TURNS) -> None:
        self.rate = rate
        self.waited = 0.0
        self.step = step_of(rate, most)
        """Bytes to take at once."""
        self.turns = trio.CapacityLimiter(max(2, min(turns, rate // TURN_RATE)))
        """Requests to peers under way at once."""
        self._bucket = bucket(rate, self.step)
        self._queue: FairQueue[_Waiter] = FairQueue()

    @property
    def waiting(self) -> int:
        """How many takers wait."""
        return len(self._queue)

    def take_nowait(self, size: int) -> bool:
        """Take ``size`` bytes if nobody has to wait for them."""
        now = trio.current_time()
        if self._queue or self._bucket.delay(size, now):
            return False
        self._bucket.take(size, now)
        return True

    async def take(self, key: Hashable, size: int) -> None:
        """Wait for ``size`` bytes; takers under different keys get the same share each.

        Nothing is taken where it is cancelled. No checkpoint where nobody has to wait.
        """
        if self.take_nowait(size):
            return
        began, waiter, served = trio.current_time(), _Waiter(), False
        self._queue.enter(key, size, waiter)
        try:
            while not served:
                wait = self._bucket.delay(size, trio.current_time())
                if self._queue.first() is not waiter:
                    waiter.awake = trio.Event()
                    await waiter.awake.wait()
                elif wait:
                    await trio.sleep(wait)
                else:
                    self._bucket.take(size, trio.current_time())
                    served = True
        finally:
            self.waited += trio.current_time() - began
            self._queue.leave(waiter, served=served)
            following = self._queue.first()
            if following is not None:
                following.awake.set()


class Limits:
    """The limits of one node; None where there is none."""

    def __init__(self, settings: LimitSettings) -> None:
        self.up = Limiter(settings.up, most=MOST_SENT) if settings.up else None
        self.down = _limiter(settings.down)
        self.origin = _limiter(settings.origin)
        self.prefetch = Limiter(settings.prefetch, turns=PREFETCH_TURNS) if settings.prefetch else None
        self._named = {"up": self.up, "down": self.down, "origin": self.origin, "prefetch": self.prefetch}

    def report(self) -> tuple[LimitReport, ...]:
        """Tell of each limit that is set."""
        return tuple(
            LimitReport(name, one.rate, one.waited) for name, one in self._named.items() if one is not None
        )

    @property
    def run(self) -> int:
        """Most bytes to ask a peer for with one request."""
        return run_of(self.down.rate if self.down is not None else 0)

    def pacer(self, key: Hashable, prefetching: Callable[[], bool] = lambda: False) -> Pacer | None:
        """Make what paces the bytes of one download, None where nothing has to be paced.

        ``key``: downloads that share a limit get the same share each. ``prefetching``: whether now nobody
        but a prefetch wants it.
        """
        if self.down is None and self.origin is None and self.prefetch is None:
            return None
        return Pacer(self, key, prefetching)


def run_of(down: int) -> int:
    """Bytes to ask a peer for with one request, where ``down`` bytes a second may come (0: any number)."""
    most = SwarmSettings().run
    return min(most, int(down * RUN_SECONDS)) if down else most


def _limiter(rate: int) -> Limiter | None:
    return Limiter(rate) if rate else None


class Clock:
    """The time of one request to a peer. ``held``: seconds that this node itself kept it waiting.

    ``told`` hears when that begins (True) and ends.
    """

    def __init__(self, told: Callable[[bool], None]) -> None:
        self.held = 0.0
        self._told = told

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it."""
        began = trio.current_time()
        self._told(True)
        try:
            yield
        finally:
            self.held += trio.current_time() - began
            self._told(False)


class Pacer:
    """Paces what one download receives."""

    def __init__(self, limits: Limits, key: Hashable, prefetching: Callable[[], bool]) -> None:
        self._limits = limits
        self._key = key
        self._prefetching = prefetching
        self._liftable: list[trio.CancelScope] = []
        """Of those that wait for ``prefetch``."""

    def lift(self) -> None:
        """A client wants it too: what waits for the limit of prefetches waits no more."""
        for scope in self._liftable:
            scope.cancel()

    def step(self, *, origin: bool) -> int:
        """Bytes to take at once, from the origin or from a peer."""
        return min((one.step for one in self._chain(origin=origin)), default=MOST_RECEIVED)

    async def take(self, size: int, *, origin: bool, clock: Clock | None = None) -> None:
        """Wait until ``size`` bytes may be received; ``clock`` is stopped meanwhile."""
        for limiter in self._chain(origin=origin):
            if not limiter.take_nowait(size):
                with nullcontext() if clock is None else clock.stopped(), self._while_due(limiter):
                    await limiter.take(self._key, size)

    async def fill(self, body: Body, view: memoryview, *, origin: bool, clock: Clock | None = None) -> int:
        """Fill ``view`` from a body, as the limits allow; gives how many bytes came."""
        taken = 0
        while taken < len(view):
            part = view[taken : taken + self.step(origin=origin)]
            await self.take(len(part), origin=origin, clock=clock)
            count = await body.read_into(part)
            taken += count
            if count < len(part):
                break
        return taken

    @asynccontextmanager
    async def turn(self, size: int, clock: Clock) -> AsyncIterator[None]:
        """Wait for a turn to ask a peer for ``size`` bytes: few at once, so that each comes fast enough."""
        token, held = object(), list[trio.CapacityLimiter]()
        try:
            for limiter in self._chain(origin=False) if size > ALONE else ():
                try:
                    limiter.turns.acquire_on_behalf_of_nowait(token)
                except trio.WouldBlock:
                    with clock.stopped(), self._while_due(limiter) as scope:
                        await limiter.turns.acquire_on_behalf_of(token)
                    if scope.cancelled_caught:
                        continue
                held.append(limiter.turns)
            yield
        finally:
            for turns in held:
                turns.release_on_behalf_of(token)

    @contextmanager
    def _while_due(self, limiter: Limiter) -> Iterator[trio.CancelScope]:
        """Wait for a limit, for ``prefetch`` no longer than it holds."""
        with trio.CancelScope() as scope:
            if limiter is self._limits.prefetch:
                self._liftable.append(scope)
            try:
                yield scope
            finally:
                if scope in self._liftable:
                    self._liftable.remove(scope)

    def _chain(self, *, origin: bool) -> Iterator[Limiter]:
        """Limits of a byte, the parts before the whole."""
        limits = self._limits
        if limits.prefetch is not None and self._prefetching():
            yield limits.prefetch
        if limits.origin is not None and origin:
            yield limits.origin
        if limits.down is not None:
            yield limits.down
