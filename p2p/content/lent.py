"""A file lent to a thread that may be left alone with it: whoever waits for a long write can be cancelled."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio import CapacityLimiter


class LentFile:
    """A descriptor of its own of an open file, for one thread, and whether that thread is to stop."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._lock = Lock()
        self._over = False
        self._taken = False

    def check(self) -> int:
        """Give the descriptor. InterruptedError where nobody waits any more."""
        if self._over:
            raise InterruptedError("nobody waits for this any more")
        return self._fd

    async def work(self, call: Callable[[LentFile], None], limiter: CapacityLimiter) -> None:
        """Run ``call`` in a thread; who is cancelled leaves at once, and it stops at its next check."""
        try:
            await trio.to_thread.run_sync(self._run, call, limiter=limiter, abandon_on_cancel=True)
        finally:
            with self._lock:
                self._over = True
                if not self._taken:
                    os.close(self._fd)

    def _run(self, call: Callable[[LentFile], None]) -> None:
        with self._lock:
            if self._over:
                return
            self._taken = True
        try:
            call(self)
        finally:
            os.close(self._fd)
