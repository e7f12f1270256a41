"""The store's threads: one limiter for hashing, one for the disk, and the faults of both."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import trio

from p2p.errors import StoreUnhealthyError
from p2p.store.files import fault

if TYPE_CHECKING:
    from collections.abc import Callable

Args = ParamSpec("Args")
Result = TypeVar("Result")

DISK_THREADS: Final = 8
"""Threads that wait for the disk at once; they need no processor."""


class Workers:
    """Runs blocking work. ``healthy`` turns False, for good, when the disk failed.

    A call is never abandoned: when the caller is cancelled the thread ends first, so that buffers lent to
    it stay good, and its result is still given.
    """

    def __init__(self) -> None:
        self.threads = max(2, os.cpu_count() or 1)
        self.healthy = True
        self._hashing = trio.CapacityLimiter(self.threads)
        self._disk = trio.CapacityLimiter(DISK_THREADS)

    def check(self, subject: str) -> None:
        """Refuse to write after a fault: StoreUnhealthyError."""
        if not self.healthy:
            raise StoreUnhealthyError(
                subject,
                "nothing is written since the disk failed",
                "Check the disk (dmesg, smartctl) and its mount, then restart the node.",
            )

    async def hash(
        self, subject: str, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Run what keeps a processor busy."""
        return await self._run(subject, self._hashing, partial(work, *args, **kwargs))

    async def disk(
        self, subject: str, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Run what waits for the disk."""
        return await self._run(subject, self._disk, partial(work, *args, **kwargs))

    def failed(self, subject: str, error: OSError) -> Exception:
        """Map a system error and remember it where it makes the store unhealthy."""
        mapped = fault(subject, error)
        if isinstance(mapped, StoreUnhealthyError):
            self.healthy = False
        return mapped

    async def _run(self, subject: str, limiter: trio.CapacityLimiter, work: Callable[[], Result]) -> Result:
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter)
        except StoreUnhealthyError:
            self.healthy = False
            raise
        except OSError as error:
            raise self.failed(subject, error) from error
