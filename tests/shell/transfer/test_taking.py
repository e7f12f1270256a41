"""Requests performed: what a limit far below the network must not change but the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.config import LimitSettings
from p2p.transfer.limits import BURST_SECONDS, LEAST_STEP
from tests.support.cluster import cluster, read_range
from tests.support.http_rig import until
from tests.support.liar import send_range
from tests.support.store_rig import MIB, blob

if TYPE_CHECKING:
    from tests.support.cluster import Node

CONTENT = blob(6 * MIB + 5, seed=9)
LIMIT = 4_000_000
LEAST_SECONDS = CONTENT.size / LIMIT - BURST_SECONDS


def unruffled(node: Node) -> bool:
    """Whether nobody was taken for slow, gone or guilty."""
    statistics = node.engine.statistics()
    return not (statistics.hedges or statistics.strikes or statistics.banned)


@pytest.mark.slow
@pytest.mark.parametrize("origin", [True, False])
async def test_a_node_that_limits_itself_blames_nobody(origin: bool) -> None:
    async with cluster() as world:
        if origin:
            world.origin.hold(CONTENT)
        seeders = [await world.node(f"seeder{n}") for n in range(2)]
        for seeder in seeders:
            await seeder.hold(CONTENT)
        node = await world.node("limited", limits=LimitSettings(down=LIMIT))
        begin = trio.current_time()
        assert await node.read(CONTENT) == CONTENT.data
        assert trio.current_time() - begin >= LEAST_SECONDS * 0.95
        await node.settled()
        assert unruffled(node)
        assert world.origin.egress == 0
        account = node.engine.explain(CONTENT.digest)
        assert account is not None
        assert sum(account.from_peers.values()) == CONTENT.size
        (report,) = node.engine.statistics().limits
        assert (report.limit, report.rate_bytes) == ("down", LIMIT)
        assert report.waited_seconds > 0


@pytest.mark.slow
async def test_an_origin_is_read_once_at_its_limit_and_keeps_the_lease() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node("limited", limits=LimitSettings(origin=LIMIT))
        begin = trio.current_time()
        assert await node.read(CONTENT) == CONTENT.data
        assert trio.current_time() - begin >= LEAST_SECONDS * 0.95
        assert world.origin.egress == CONTENT.size
        offsets = [at for _, at in world.board.progress]
        assert len(offsets) > 10, "many small signs of life"


@pytest.mark.slow
async def test_a_client_frees_a_prefetch() -> None:
    async with cluster() as world:
        seeder = await world.node("seeder")
        await seeder.hold(CONTENT)
        node = await world.node("limited", limits=LimitSettings(prefetch=4000))
        limiter = node.parts.limits.prefetch
        assert limiter is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.fetch, CONTENT)
            await until(lambda: limiter.waiting > 1)
            with trio.fail_after(LEAST_STEP / 4000 - 1):  # each that waits would wait for longer
                assert await node.read(CONTENT) == CONTENT.data
        assert unruffled(node)


async def test_what_waits_for_a_buffer_is_not_late() -> None:
    async with cluster() as world:
        for n in range(2):
            await (await world.node(f"seeder{n}", limits=LimitSettings(up=LIMIT))).hold(CONTENT)
        node = await world.node("small", memory=MIB)
        async with node.open(CONTENT) as stream:
            requests = node.engine._runners[CONTENT.digest].swarm.requests
            await until(lambda: requests.held > 1)
            assert await read_range(stream, 0, CONTENT.size) == CONTENT.data
        assert requests.held == 0


async def test_a_peer_without_a_free_slot_is_asked_again_and_not_dropped() -> None:
    refusals = 0

    async def once_busy(stream: Any, first: int, stop: int) -> None:
        nonlocal refusals
        if not refusals:
            refusals += 1
            await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        else:
            await send_range(stream, CONTENT.data, first, stop)

    async with cluster() as world:
        peer = await world.liar(CONTENT, answer=once_busy)
        node = await world.node("patient")
        assert await node.read(CONTENT) == CONTENT.data
        assert refusals == 1
        await node.settled()
        account = node.engine.explain(CONTENT.digest)
        assert account is not None
        assert account.from_peers == {peer.node: CONTENT.size}
        assert len(peer.links) == 1, "it was never unlinked"
