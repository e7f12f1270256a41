"""Readers of one blob: from the store, behind a growing swarm, or past a full disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm.chunks import Layout
from p2p.errors import OriginError, OriginProtocolError, VerificationError
from p2p.net.message import FileSpan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.midstates import Midstates
    from p2p.origin.api import Source
    from p2p.transfer.api import Wanted
    from p2p.transfer.limits import Pacer
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


@dataclass(frozen=True, slots=True)
class _Given:
    """Chunks ``[first, stop)`` were given to a reader while this list was the adopted one."""

    first: int
    stop: int
    midstates: Midstates

    def contradicts(self, now: Midstates) -> bool:
        """Whether a list says of any of these chunks that they end, or begin, in another state."""
        start, stop = max(0, self.first - 1) * now.width, self.stop * now.width
        before, after = self.midstates.states[start:stop], now.states[start:stop]
        return not (before.startswith(after) or after.startswith(before))


def first_hand(runner: Runner, stop: int) -> bool:
    """Whether a range that ends before the blob does may be given as it came.

    That is where this node read it from the origin itself. The blob's own end waits for the digest anyway.
    """
    return runner.swarm.lists.own and runner.layout is not None and stop < runner.layout.size


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
        self._given: list[_Given] = []
        self._checked = runner.partial.midstates

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield the range in order as its chunks become readable.

        Its last chunk waits until the whole blob is proven, wherever in the blob it lies: no answer is ever
        whole and other than what the origin gave, or the digest says.
        """
        runner, layout = self._runner, self._layout
        runner.seek(self._reader, start, stop)
        position = start
        withheld = max(0, stop - 1) // layout.chunk
        peeked = b""
        while position < stop:
            if runner.error is not None:
                raise runner.error
            self._check()
            index = position // layout.chunk
            end = index
            while (
                end < layout.count
                and layout.offset(end) < min(stop, position + SPAN)
                and runner.readable(end)
                and (end != withheld or runner.proven or first_hand(runner, stop))
            ):
                end += 1
            if end == index and position == start:
                peeked = await runner.peeks.read(start, min(stop, layout.offset(withheld)))
                if peeked:
                    yield peeked
                    position += len(peeked)
                    runner.moved(self._reader, position)
                    continue
            if end == index:
                await runner.changed()
                continue
            if end > withheld and peeked and os.pread(self._fd, len(peeked), start) != peeked:
                raise VerificationError(str(self.digest), "the origin gave other bytes for a part of it")
            upto = min(layout.offset(end), stop)
            self._given.append(_Given(index, end, self._checked))
            yield FileSpan(self._fd, position, upto - position)
            position = upto
            runner.moved(self._reader, position)

    def _check(self) -> None:
        """VerificationError where bytes that were given do not hold under the list of now.

        A list that still grows can't be held against the digest, so that a liar's may let wrong bytes
        through. The last chunk waits for the proven list, and its reader is cut here.
        """
        assert self._runner.partial is not None
        midstates = self._runner.partial.midstates
        if midstates is self._checked:
            return
        if not midstates.states.startswith(self._checked.states) and any(
            given.contradicts(midstates) for given in self._given
        ):
            raise VerificationError(
                str(self.digest), "a peer's false midstates had let wrong bytes through", "Ask again."
            )
        self._checked = midstates

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)


class PassingStream:
    """The disk is full: bytes go from the origin to this one client, kept nowhere, verified on the way.

    The last chunk of what is asked for is withheld until the digest of all matches. A range is given from
    a whole pass, since nothing less can be verified.
    """

    def __init__(
        self, wanted: Wanted, origin: Source, size: int, nursery: trio.Nursery, pacer: Pacer | None
    ) -> None:
        self.digest = wanted.digest
        self.size = size
        self._wanted = wanted
        self._origin = origin
        self._nursery = nursery
        self._pacer = pacer

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        """Yield the range as bytes."""
        # An origin's body may hold a nursery, and a generator must not: it is resumed in other tasks.
        send, receive = trio.open_memory_channel[bytes](0)
        scope, failures = trio.CancelScope(), list[OriginError]()
        self._nursery.start_soon(self._pump, start, stop, send, scope, failures)
        try:
            async for part in receive:
                yield part
        finally:
            scope.cancel()
            receive.close()
        if failures:
            raise failures[0]

    async def _pump(
        self,
        start: int,
        stop: int,
        send: trio.MemorySendChannel[bytes],
        scope: trio.CancelScope,
        failures: list[OriginError],
    ) -> None:
        with scope, send:
            try:
                await self._pass(start, stop, send)
            except OriginError as error:
                failures.append(error)
            except trio.BrokenResourceError:
                return  # the client left

    async def _pass(self, start: int, stop: int, send: trio.MemorySendChannel[bytes]) -> None:
        layout = Layout(self.size)
        withheld_from = layout.offset(max(0, stop - 1) // layout.chunk)
        hasher = hashlib.new(self.digest.algorithm)
        at, tail = 0, bytearray()
        path, wanted = self._wanted.repository.path, self._wanted
        async with self._origin.open(path, wanted.digest, wanted.kind) as body:
            async for part in body:
                if self._pacer is not None:
                    await self._pacer.take(len(part), origin=True)
                hasher.update(part)
                free = max(0, min(len(part), withheld_from - at))
                first, last = max(start - at, 0), min(stop - at, free)
                if first < last:
                    await send.send(part[first:last])
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
            await send.send(bytes(tail))

    def close(self) -> None:
        """Nothing is held between two ranges."""
