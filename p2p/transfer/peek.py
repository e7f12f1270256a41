"""The first bytes of a range far ahead of the origin's stream: read from the origin beside it.

containerd's parallel fetch and others open many ranges ``bytes=N-`` at once. Where this node itself streams
the blob, a far one would wait until the stream is there, longer than clients wait for a first byte. So each
gets a little at once, which costs the origin next to nothing; what follows comes with the stream. Nothing of
it is kept but for a moment, and it is held against the proven blob before the answer ends.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio

from p2p.errors import OriginError

if TYPE_CHECKING:
    from p2p.transfer.parts import Parts
    from p2p.transfer.runner import Runner

FAR: Final = 8 << 20
"""Bytes ahead of the stream below which it is there soon."""
MOST: Final = 256 << 10
AT_ONCE: Final = 4
KEPT: Final = 16
"""Pieces kept: a range is looked at for its first byte, and asked for again when it is sent."""
SHARE: Final = 16
"""A sixteenth of a blob is read in this way at most."""


class Peeks:
    """Those of one blob."""

    def __init__(self, runner: Runner, parts: Parts) -> None:
        self._runner = runner
        self._parts = parts
        self._room = trio.CapacityLimiter(AT_ONCE)
        self._pieces: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._spent = 0

    async def read(self, start: int, stop: int) -> bytes:
        """Give the first bytes of ``[start, stop)``; none where they come soon, or some other way."""
        stop = min(stop, start + MOST)
        kept = self._pieces.get((start, stop))
        if kept is not None or stop <= start or not self._fit(start, stop):
            return kept or b""
        self._spent += stop - start
        async with self._room:
            piece = bytearray(stop - start)
            try:
                with memoryview(piece) as view:
                    await self._parts.read_origin(self._runner.wanted, start, stop, view, self._runner.pacer)
            except OriginError:
                return b""  # the stream may do better
            self._parts.statistics.received_origin += len(piece)
            self._parts.statistics.lazy += len(piece)
            self._pieces[start, stop] = bytes(piece)
            if len(self._pieces) > KEPT:
                self._pieces.popitem(last=False)
            return bytes(piece)

    def _fit(self, start: int, stop: int) -> bool:
        swarm, layout = self._runner.swarm, self._runner.layout
        if layout is None or not self._parts.stream or not swarm.settings.links:
            return False
        if not swarm.turn.streaming or not swarm.lists.own:
            return False  # others stream: a hundred nodes must not ask the origin
        far = start - layout.offset(swarm.lists.adopted.length) >= FAR
        return far and (self._spent + stop - start) * SHARE <= layout.size
