"""Many share or one alone: what lets a partial blob's writes run side by side, but not with its commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Gate:
    """A shared and exclusive lock; whoever waits to be alone goes before new sharers."""

    def __init__(self) -> None:
        self._sharing = 0
        self._alone = False
        self._wanting = 0
        self._lot = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it together with others."""
        while self._alone or self._wanting:
            await self._lot.park()
        self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            self._lot.unpark_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it alone."""
        self._wanting += 1
        try:
            while self._alone or self._sharing:
                await self._lot.park()
            self._alone = True
        finally:
            self._wanting -= 1
            if not self._alone:
                self._lot.unpark_all()
        try:
            yield
        finally:
            self._alone = False
            self._lot.unpark_all()
