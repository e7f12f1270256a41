"""Readers of one blob: from the store, behind a growing swarm, or past a full disk."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from p2p.core.swarm.chunks import Layout
from p2p.errors import OriginProtocolError
from p2p.net.message import FileSpan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.core.oci.digest import Digest
    from p2p.origin.api import Origin
    from p2p.transfer.api import Wanted
    from p2p.transfer.runner import Runner

SPAN = 16 << 20
"""Longest span handed out at once, so that a reader's position is known closely enough."""


class StoredStream:
    """A complete blob."""

    def __init__(self, digest: Digest, size: int, fd: int) -> None:
        self.digest = digest
        self.size = size
        self._fd = fd

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield the range as one span."""
        if start < stop:
            yield FileSpan(self._fd, start, stop - start)


class SwarmStream:
    """A blob that is still arriving. Made while its partial blob is open; ``close`` when done."""

    def __init__(self, runner: Runner, reader: int) -> None:
        assert runner.layout is not None
        assert runner.partial is not None
        self.digest = runner.wanted.digest
        self.size = runner.layout.size
        self._runner = runner
        self._reader = reader
        self._layout = runner.layout
        # Of our own, and from now on: the swarm's is closed, and its number used again, when the swarm ends.
        self._fd = os.dup(runner.partial.fd)

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield the range in order as its chunks become readable."""
        runner, layout = self._runner, self._layout
        runner.seek(self._reader, start, stop)
        position = start
        while position < stop:
            if runner.error is not None:
                raise runner.error
            index = position // layout.chunk
            end = index
            while end < layout.count and layout.offset(end) < position + SPAN and runner.readable(end):
                end += 1
            if end == index:
                await runner.changed()
                continue
            upto = min(layout.offset(end), stop)
            yield FileSpan(self._fd, position, upto - position)
            position = upto
            runner.moved(self._reader, position)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)


class PassingStream:
    """The disk is full: bytes go from the origin to this one client, kept nowhere, verified on the way.

    The last chunk of what is asked for is withheld until the digest of all matches. A range is given from
    a whole pass, since nothing less can be verified.
    """

    def __init__(self, wanted: Wanted, origin: Origin, size: int) -> None:
        self.digest = wanted.digest
        self.size = size
        self._wanted = wanted
        self._origin = origin

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield the range as bytes."""
        layout = Layout(self.size)
        withheld_from = layout.offset(max(0, stop - 1) // layout.chunk)
        hasher = hashlib.new(self.digest.algorithm)
        at, tail = 0, bytearray()
        path, wanted = self._wanted.repository.path, self._wanted
        async with self._origin.open(path, wanted.digest, wanted.kind) as body:
            async for part in body:
                hasher.update(part)
                free = max(0, min(len(part), withheld_from - at))
                first, last = max(start - at, 0), min(stop - at, free)
                if first < last:
                    yield part[first:last]
                tail += part[max(free, start - at, 0) : max(stop - at, 0)]
                at += len(part)
                if at > self.size:
                    break
        if at != self.size or hasher.hexdigest() != self.digest.hex:
            raise OriginProtocolError(
                self._origin.name,
                f"content does not have the digest {self.digest}",
                "The image is damaged upstream; nothing was kept.",
            )
        if tail:
            yield bytes(tail)

    def close(self) -> None:
        """Nothing is held between two ranges."""
