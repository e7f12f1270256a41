"""The chunks of one request: got from a peer or the origin, verified and written in one hop."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING

import trio

from p2p.core.swarm import events as ev
from p2p.errors import OriginError, PeerError, StoreError
from p2p.transfer.fetch import BusyError, StalledError, UnmetError
from p2p.transfer.intake import origin_failed
from p2p.transfer.limits import Clock

if TYPE_CHECKING:
    from p2p.core.swarm import actions as act
    from p2p.core.wire.common import Provider
    from p2p.transfer.parts import Parts
    from p2p.transfer.runner import Runner


async def answer(runner: Runner, parts: Parts, action: act.Request) -> tuple[ev.Event, ...]:
    """Perform a request of the swarm; gives what became of it, to be posted in this order."""
    try:
        return (await _take(runner, parts, action),)
    except StoreError as error:
        return (ev.StoreFailed(error),)
    except OriginError as error:
        return ev.RequestFailed(action.request, str(error)), origin_failed(error)
    except PeerError as error:
        failed = ev.RequestFailed(
            action.request,
            str(error),
            stalled=isinstance(error, StalledError),
            unmet=isinstance(error, UnmetError),
            busy=isinstance(error, BusyError),
        )
        return (failed,)


async def _take(runner: Runner, parts: Parts, action: act.Request) -> ev.Event:
    """Get a request's chunks, verify and write them in one hop, and tell which hold."""
    layout, partial = runner.layout, runner.partial
    assert layout is not None
    assert partial is not None
    start, stop = layout.offset(action.first), layout.offset(action.first + action.count)
    statistics, pacer = parts.statistics, runner.pacer
    clock = Clock(lambda held: runner.post(ev.RequestHeld(action.request, held)))
    paced = pacer is not None and action.provider is not None and stop > start
    async with AsyncExitStack() as stack:
        if pacer is not None and paced:
            await stack.enter_async_context(pacer.turn(stop - start, clock))
        lending = parts.buffers.take(stop - start, runner.wanted.repository)
        # Nobody was asked yet: what waits for its turn here is not late.
        with nullcontext() if parts.buffers.free(stop - start) else clock.stopped():
            buffer = await stack.enter_async_context(lending)
        sent, held_before = trio.current_time(), clock.held
        if stop == start:
            pass  # nobody need be asked for nothing
        elif action.provider is None:
            await parts.read_origin(runner.wanted, start, stop, buffer, pacer)
            statistics.received_origin += stop - start
        else:
            await _read_peer(runner, parts, action.request, action.provider, buffer, start, clock)
            statistics.received_peers += stop - start
        try:
            held = tuple(await partial.write(action.first, buffer))
        except ValueError:  # the list on disk does not reach so far any more
            return ev.RequestFailed(action.request, "the list changed meanwhile")
    if not all(held) and not partial.midstates.agrees(runner.swarm.lists.adopted):
        # Verified under another list than the sender's own: no guilt of his.
        return ev.RequestFailed(action.request, "the list changed meanwhile")
    good = sum(layout.length(i) for i, ok in enumerate(held, action.first) if ok)
    runner.tally.got(action.provider.node if action.provider is not None else None, good)
    statistics.chunks_verified += sum(held)
    statistics.chunks_refused += held.count(False)
    seconds = trio.current_time() - sent - (clock.held - held_before)
    return ev.ChunksTaken(action.request, action.first, held, seconds, last=True)


async def _read_peer(
    runner: Runner,
    parts: Parts,
    request: int,
    provider: Provider,
    buffer: memoryview,
    start: int,
    clock: Clock,
) -> None:
    """Read a peer's answer, as this node's limits allow; for the first bytes it waits before it asks."""
    pacer = runner.pacer
    first = len(buffer)
    if pacer is not None:
        first = min(first, pacer.step(origin=False))
        await pacer.take(first, origin=False, clock=clock)
    address = (provider.host, provider.port)
    async with parts.client.get(address, runner.wanted.digest, start, start + len(buffer)) as body:
        body.flowing = lambda received: runner.post(ev.RequestFlows(request, received))
        await body.read_into(buffer[:first])
        if pacer is not None:
            await pacer.fill(body, buffer[first:], origin=False, clock=clock)
