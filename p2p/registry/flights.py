"""One question asked once, however many want the answer at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

A = TypeVar("A")


class _Flight(Generic[A]):
    """``answer`` holds one element once there is one."""

    __slots__ = ("answer", "done", "error")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: tuple[A, ...] = ()
        self.error: Exception | None = None


class Flights(Generic[A]):
    """Shares answers, and errors, between those who wait for the same key.

    The first to ask does the work in its own task. If it is cancelled (its client left), one of those
    who wait does the work in its place. Nothing is kept once the answer is there.
    """

    def __init__(self) -> None:
        self._flying: dict[Hashable, _Flight[A]] = {}

    async def ask(self, key: Hashable, work: Callable[[], Awaitable[A]]) -> A:
        """Give ``work()``'s answer, from this call or from one under way; raises what it raised."""
        while (flight := self._flying.get(key)) is not None:
            await flight.done.wait()
            if flight.answer:
                return flight.answer[0]
            if flight.error is not None:
                raise flight.error.with_traceback(None)
        flight = self._flying[key] = _Flight()
        try:
            answer = await work()
        except Exception as error:
            flight.error = error
            raise
        else:
            flight.answer = (answer,)
            return answer
        finally:
            del self._flying[key]
            flight.done.set()
