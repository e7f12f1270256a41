"""The clients that read one blob: where each is, and what they wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from p2p.core.swarm import events as ev
from p2p.core.swarm.picker import URGENT, window_bits

if TYPE_CHECKING:
    from p2p.core.swarm.chunks import Layout


@dataclass(slots=True)
class Reader:
    """One client: bytes ``[start, stop)``, those before ``position`` taken, the last ones at ``served``."""

    start: int
    stop: int
    position: int
    background: bool
    served: float = 0.0


class Demand(NamedTuple):
    """What the readers want, as bits of chunks: ``window`` first, ``urgent`` before all, or everything.

    ``heads``: what is urgent for each reader. Who has least to read on with comes first, and of those that
    wait whoever waits longest.
    """

    window: int
    urgent: int
    heads: tuple[int, ...] = ()

    def turn(self, wanted: int) -> tuple[int, bool]:
        """Of the chunks that may be asked for, those whose turn it is, and whether other readers wait too.

        Who reads from the beginning would take every turn, since its next chunk comes before all others'.
        """
        heads = [head for head in self.heads if head & wanted]
        return (heads[0], len(heads) > 1) if heads else (0, False)


class Readers:
    """The table of readers. ``lonely``: since when there is none."""

    def __init__(self) -> None:
        self.active: dict[int, Reader] = {}
        self.lonely: float | None = None

    def handle(self, event: ev.ReaderJoined | ev.ReaderMoved | ev.ReaderLeft, now: float) -> None:
        """Take a reader's event."""
        match event:
            case ev.ReaderJoined(reader=name, start=start, stop=stop, background=background):
                self.active[name] = Reader(start, stop, start, background, now)
                self.lonely = None
            case ev.ReaderMoved(reader=name, position=position):
                if name in self.active:
                    self.active[name].position = position
                    self.active[name].served = now
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
        heads: list[tuple[int, float, int]] = []
        for reader in self.active.values():
            if reader.background:
                continue
            first = min(reader.position // layout.chunk, layout.count)
            bits = window_bits(first, have, layout.count) or window_bits(0, have, layout.count)
            window |= bits
            stop = -(-reader.stop // layout.chunk)
            start = (bits & -bits).bit_length() - 1
            if bits and start < stop:
                head = ((1 << min(start + URGENT, stop)) - 1) & ~((1 << start) - 1)
                heads.append((max(0, start - first), reader.served, head))
                urgent |= head
        heads.sort()
        return Demand(window or (1 << layout.count) - 1, urgent, tuple(head for *_, head in heads))
