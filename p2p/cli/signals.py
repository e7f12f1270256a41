"""Run something until SIGTERM or SIGINT asks for its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import trio

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP counts as well: a closed terminal must not leave anything behind."""


async def until_signal(work: Callable[[], Awaitable[None]]) -> int | None:
    """Run ``work``; the first signal cancels it (it drains and tidies up), a second one ends us at once.

    Gives the signal that came, None if ``work`` ended by itself.
    """
    came: int | None = None
    with trio.open_signal_receiver(*SIGNALS) as received:
        async with trio.open_nursery() as nursery:
            work_scope = trio.CancelScope()

            async def watch() -> None:
                nonlocal came
                async for number in received:
                    if came is not None:
                        signal.signal(number, signal.SIG_DFL)
                        os.kill(os.getpid(), number)
                    came = number
                    work_scope.cancel()

            nursery.start_soon(watch)
            with work_scope:
                await work()
            nursery.cancel_scope.cancel()
    return came
