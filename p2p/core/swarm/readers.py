"""The clients that read one blob: where each is, and what they wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.swarm import events as ev
from p2p.core.swarm.picker import URGENT, window_bits

if TYPE_CHECKING:
    from p2p.core.swarm.chunks import Layout


@dataclass(slots=True)
class Reader:
    """One client: bytes ``[start, stop)``, those before ``position`` taken."""

    start: int
    stop: int
    position: int
    background: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """What the readers want, as bits of chunks: ``window`` first, ``urgent`` before all, or everything."""

    window: int
    urgent: int


class Readers:
    """The table of readers. ``lonely``: since when there is none."""

    def __init__(self) -> None:
        self.active: dict[int, Reader] = {}
        self.lonely: float | None = None

    def handle(self, event: ev.ReaderJoined | ev.ReaderMoved | ev.ReaderLeft, now: float) -> None:
        """Take a reader's event."""
        match event:
            case ev.ReaderJoined(reader=name, start=start, stop=stop, background=background):
                self.active[name] = Reader(start, stop, start, background)
                self.lonely = None
            case ev.ReaderMoved(reader=name, position=position):
                if name in self.active:
                    self.active[name].position = position
            case ev.ReaderLeft(reader=name):
                if self.active.pop(name, None) is not None and not self.active:
                    self.lonely = now

    def ends(self, grace: float) -> float | None:
        """When the grace period ends, if it runs."""
        return None if self.lonely is None else self.lonely + grace

    def expired(self, grace: float, now: float) -> bool:
        """Whether nobody has read for ``grace`` seconds."""
        return self.lonely is not None and now >= self.lonely + grace

    def demand(self, layout: Layout, have: int) -> Demand:
        """What to ask for first, given the chunks at hand.

        With background readers alone (or none): everything alike. Else a window over the contiguous
        prefix of each reading client, and the first chunks of it before all others.
        """
        window = urgent = 0
        for reader in self.active.values():
            if reader.background:
                continue
            first = min(reader.position // layout.chunk, layout.count)
            bits = window_bits(first, have, layout.count) or window_bits(0, have, layout.count)
            window |= bits
            stop = -(-reader.stop // layout.chunk)
            start = (bits & -bits).bit_length() - 1
            if bits and start < stop:
                urgent |= ((1 << min(start + URGENT, stop)) - 1) & ~((1 << start) - 1)
        return Demand(window or (1 << layout.count) - 1, urgent)
