"""Small ranges of large blobs that are not here yet: read from their origin, past the swarm.

Lazy readers (stargz, SOCI, zstd:chunked) ask for an index at a blob's end and then for pieces anywhere. Of
such a piece nothing proves that it belongs to the digest but all that comes after it, so peers' bytes would
have to wait for the whole blob (docs/adr/0006). What the origin itself gives for a range is as good as what
the client would get from it; lazy readers hold it against digests of their own. Nothing of it is kept.

Whoever asks for much of a blob is better served by all of it: from a share on, it is fetched beside, once for
the cluster.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.swarm.chunks import MIB
from p2p.errors import OriginError

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.transfer.api import Wanted
    from p2p.transfer.parts import Parts

LEAST: Final = 8 * MIB
"""Smaller blobs come whole as soon."""
MOST: Final = 4 * MIB
"""Bytes of one request's ranges; they are held in memory until they are sent."""
AT_ONCE: Final = 8
SHARE: Final = 8
"""An eighth of a blob asked for in small ranges is a reason to fetch the whole."""
REMEMBERED: Final = 256

Ranges = Sequence[tuple[int, int]]
"""``[start, stop)`` in bytes, each."""


def is_lazy(ranges: Ranges, size: int) -> bool:
    """Whether ranges of a blob of ``size`` bytes are small enough to be read alone."""
    return size >= LEAST and 0 < sum(stop - start for start, stop in ranges) <= MOST


class Asked:
    """How much of which blobs was asked for in small ranges, of the last so many blobs. Pure."""

    def __init__(self) -> None:
        self._bytes: OrderedDict[Digest, int] = OrderedDict()

    def note(self, digest: Digest, ranges: Ranges, size: int) -> bool:
        """Count a request; True where the whole blob is worth fetching now."""
        asked = self._bytes.pop(digest, 0) + sum(stop - start for start, stop in ranges)
        self._bytes[digest] = asked
        if len(self._bytes) > REMEMBERED:
            self._bytes.popitem(last=False)
        return asked * SHARE >= size


class LazyReader:
    """Reads small ranges from origins, a few at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asked = Asked()
        self._room = trio.CapacityLimiter(AT_ONCE)

    def worth_it(self, wanted: Wanted, ranges: Ranges) -> bool:
        """Count a request; True where the whole blob is worth fetching now."""
        return self._asked.note(wanted.digest, ranges, wanted.size)

    async def read(self, wanted: Wanted, ranges: Ranges) -> list[bytes] | None:
        """Give the bytes of each range; None where the origin fails: peers may still have them."""
        found: list[bytes] = []
        pacer = self._parts.limits.pacer(wanted.digest)
        async with self._room:
            for start, stop in ranges:
                buffer = bytearray(stop - start)
                try:
                    with memoryview(buffer) as view:
                        await self._parts.read_origin(wanted, start, stop, view, pacer)
                except OriginError:
                    return None
                found.append(bytes(buffer))
                self._parts.statistics.received_origin += stop - start
                self._parts.statistics.lazy += stop - start
        return found
