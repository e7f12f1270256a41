"""The origin's bytes, in order: hashed, written and added to the list while the next ones are received."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm import events as ev
from p2p.core.swarm.chunks import MAX_BLOB
from p2p.errors import (
    ContentError,
    OriginDeniedError,
    OriginError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.swarm.chunks import Layout
    from p2p.origin.api import OriginBody
    from p2p.store.api import Partial
    from p2p.transfer.limits import Pacer
    from p2p.transfer.parts import Parts
    from p2p.transfer.runner import Runner

BATCH = 4 << 20
"""Most bytes of small chunks hashed in one hop."""

BATCH_SECONDS = 0.02
"""A batch that takes longer goes on with the chunks that came: a slow origin's readers wait for them."""

STEP = 1 << 20
"""Bytes after which the lease hears of progress: in its time, however slow the origin."""

STRIDE = 4 << 20
"""The same while steps take less than ``BATCH_SECONDS``: each costs a pass through every layer."""

FIRST_BATCH = 1 << 20
"""The first batch is small, so that readers and followers get something soon."""


class ClaimedSizeError(OriginProtocolError):
    """The origin states another ``size`` than a peer claimed, where nobody else had told it."""

    def __init__(self, origin: str, digest: object, size: int, claimed: int) -> None:
        super().__init__(origin, f"states {size} bytes for {digest}, for which a peer claimed {claimed}")
        self.size = size


async def stream_origin(
    runner: Runner, parts: Parts, first: int, epoch: int, prepared: trio.Event
) -> ev.Event | None:
    """Stream the blob from chunk ``first`` to its end.

    Posts ``OriginOpened`` and ``OriginAppended``; gives ``OriginMismatch`` where the end was reached and
    the digest does not match, None where all went well. Raises OriginError, StoreError. Two buffers: one
    is hashed and written in a thread while the other is filled.
    """
    wanted, known = runner.wanted, runner.layout
    offset = known.offset(first) if known is not None else 0
    origin = parts.origin(wanted.repository)
    async with origin.open(wanted.repository.path, wanted.digest, wanted.kind, offset=offset) as body:
        if known is not None and body.size != known.size and not runner.size_known:
            raise ClaimedSizeError(origin.name, wanted.digest, body.size, known.size)
        if known is not None and body.size != known.size:
            raise OriginProtocolError(
                origin.name,
                f"states {body.size} bytes for {wanted.digest}, which has {known.size}",
                "The manifest and the registry disagree; the image is damaged upstream.",
            )
        if body.size > MAX_BLOB:
            raise OriginProtocolError(origin.name, f"states {body.size} bytes for {wanted.digest}")
        runner.size_known = True
        runner.post(ev.OriginOpened(body.size))
        await prepared.wait()
        layout = runner.layout
        assert layout is not None

        def received(size: int) -> None:
            # Bytes that come keep the lease: a chunk of a slow origin takes longer than its patience.
            if epoch:
                parts.leases.progress(wanted.digest, epoch, layout.offset(first) + size)

        source = _Source(origin.name, body, received, runner.pacer)
        parts.holdings.seeding(wanted.digest, on=True)
        try:
            return await _pump(runner, parts, source, layout, first)
        finally:
            parts.holdings.seeding(wanted.digest, on=False)


def origin_failed(error: OriginError) -> ev.OriginFailed:
    """Make the event of an error; ``final`` where the origin would say the same again."""
    final = isinstance(error, OriginNotFoundError | OriginDeniedError | OriginProtocolError)
    retry_after = error.retry_after if isinstance(error, OriginLimitedError | ContentError) else 0.0
    return ev.OriginFailed(error, final, retry_after)


async def _pump(runner: Runner, parts: Parts, source: _Source, layout: Layout, first: int) -> ev.Event | None:
    assert runner.partial is not None
    partial = runner.partial
    send, receive = trio.open_memory_channel[tuple[int, int, AsyncExitStack, memoryview]](0)

    async def fill() -> None:
        index = first
        # All nodes of the swarm wait for these bytes: they have a share of their own.
        key = "origin", runner.wanted.repository
        most = max(1, FIRST_BATCH // layout.chunk)
        async with send:
            while index < layout.count and source.broken is None:
                count = min(most, layout.count - index)
                async with AsyncExitStack() as stack:
                    lending = parts.buffers.take(layout.length(index, count), key)
                    buffer = await stack.enter_async_context(lending)
                    count = await source.chunks_into(buffer, layout.chunk)
                    if count:
                        lent = stack.pop_all()
                        try:
                            await send.send((index, count, lent, buffer[: layout.length(index, count)]))
                        except BaseException:
                            await lent.aclose()  # nobody took it
                            raise
                index += count
                # What waits for a limit with its buffer in hand keeps others from theirs: few bytes at once.
                most = max(1, BATCH // layout.chunk) if runner.pacer is None else 1
            if source.broken is None:
                await source.end()

    matches = True
    failure: StoreError | None = None
    async with trio.open_nursery() as nursery, receive:
        nursery.start_soon(fill)
        async for index, count, stack, buffer in receive:
            async with stack:
                try:
                    matches = await _take_in_order(partial, index, buffer)
                except StoreError as error:
                    failure = error
            # A thread ends its work though we be cancelled; the swarm that closed the stream must not hear.
            await trio.lowlevel.checkpoint_if_cancelled()
            # A list that peers extended meanwhile may say otherwise than the origin's bytes: it is false.
            matches = matches and runner.swarm.lists.adopted.agrees(partial.midstates)
            if failure is not None or not matches:
                nursery.cancel_scope.cancel()
                break
            size = layout.length(index, count)
            parts.statistics.received_origin += size
            runner.appended(index, count, size)
    if failure is not None:
        raise failure
    if not matches:
        return ev.OriginMismatch()
    if source.broken is not None:
        raise source.broken
    return None


async def _take_in_order(partial: Partial, first: int, buffer: memoryview) -> bool:
    """Write chunks from the origin; False where they contradict the list or the digest.

    Peers may extend the list past the stream at any moment: along it the links are checked, behind its
    end they are made.
    """
    layout = partial.layout
    while True:
        along = min(partial.midstates.length, layout.last) - first
        if along <= 0:
            return await partial.append(first, buffer)
        size = min(layout.length(first, along), len(buffer))
        if not all(await partial.write(first, buffer[:size])):
            return False
        if size == len(buffer):
            return True
        first, buffer = first + along, buffer[size:]


class _Source:
    """Fills buffers from the origin's body; ``received`` is told how many bytes came so far.

    ``broken`` is why it gives no more: what came before that is good.
    """

    def __init__(
        self, name: str, body: OriginBody, received: Callable[[int], None], pacer: Pacer | None
    ) -> None:
        self.broken: OriginError | None = None
        self._name = name
        self._body = body
        self._received = received
        self._pacer = pacer
        self._size = 0
        self._step = STEP

    async def chunks_into(self, buffer: memoryview, chunk: int) -> int:
        """Fill ``buffer`` with whole chunks, and give how many: fewer where they take their time."""
        count, most = 0, max(1, -(-len(buffer) // chunk))
        until = trio.current_time() + BATCH_SECONDS
        try:
            while count < most and (not count or trio.current_time() < until):
                await self._fill(buffer[count * chunk : (count + 1) * chunk])
                count += 1
        except OriginError as error:
            self.broken = error
        return count

    async def end(self) -> None:
        """Read the end too, so that the connection can be used again."""
        try:
            with memoryview(bytearray(1)) as more:
                if await self._body.read_into(more):
                    raise OriginProtocolError(self._name, "the body goes on behind the length it stated")
        except OriginError as error:
            self.broken = error

    async def _fill(self, buffer: memoryview) -> None:
        while buffer:
            began = trio.current_time()
            wanted = min(self._step, len(buffer))
            if self._pacer is not None:
                wanted = min(wanted, self._pacer.step(origin=True))
                await self._pacer.take(wanted, origin=True)
            count = await self._body.read_into(buffer[:wanted])
            self._size += count
            self._received(self._size)
            if count < wanted:
                raise OriginProtocolError(self._name, "the body ended before the length it stated")
            self._step = STRIDE if trio.current_time() - began < BATCH_SECONDS else STEP
            buffer = buffer[wanted:]
