from __future__ import annotations

from typing import Any

import pytest

from p2p.core.wire.common import Provider
from p2p.core.wire.peer import Midstates, State
from p2p.errors import OriginProtocolError, OriginUnreachableError
from tests.support.cluster import Cluster, Node, cluster
from tests.support.http_rig import until
from tests.support.store_rig import MIB, blob

CONTENT = blob(2 * MIB)
LIAR = Provider("f" * 32, "liar", "127.0.0.1", 1)


async def node(world: Cluster) -> Node:
    world.origin.hold(CONTENT)
    return await world.node()


async def test_a_first_strike_is_counted_a_second_bans() -> None:
    async with cluster() as world:
        parts = (await node(world)).parts
        parts.accuse(LIAR, "a false list", -1, CONTENT.digest)
        assert (parts.statistics.strikes, parts.statistics.bans, parts.statistics.banned) == (1, 0, {})
        parts.accuse(LIAR, "wrong bytes", 3, CONTENT.digest)
        assert (parts.statistics.strikes, parts.statistics.bans) == (2, 1)
        assert parts.statistics.banned == {LIAR.node: "wrong bytes"}


async def test_strikes_and_bans_are_logged_with_names(capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster() as world:
        parts = (await node(world)).parts
        for word in ("disconnected", "banned"):
            parts.accuse(LIAR, "wrong bytes", 3, CONTENT.digest)
            logged = capsys.readouterr().out
            for text in (word, "liar", LIAR.node, "127.0.0.1:1", "wrong bytes", CONTENT.digest.hex):
                assert text in logged


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (7, MIB + 3), (MIB, 2 * MIB), (0, 2 * MIB)])
async def test_a_range_of_the_origin(start: int, stop: int) -> None:
    async with cluster() as world:
        one, buffer = await node(world), bytearray(stop - start)
        await one.parts.read_origin(one.wanted(CONTENT), start, stop, memoryview(buffer))
        assert bytes(buffer) == CONTENT.data[start:stop]
        assert world.origin.egress == stop - start


@pytest.mark.parametrize("data", [CONTENT.data[: MIB + 5], b""], ids=["short", "empty"])
async def test_a_range_that_is_short(data: bytes) -> None:
    async with cluster() as world:
        one, buffer = await node(world), bytearray(MIB)
        world.origin.hold(CONTENT, data)
        with pytest.raises(OriginProtocolError):
            await one.parts.read_origin(one.wanted(CONTENT), MIB, 2 * MIB, memoryview(buffer))


async def test_a_range_whose_origin_fails_midway() -> None:
    async with cluster() as world:
        one, buffer = await node(world), bytearray(2 * MIB)
        world.origin.fail_at, world.origin.fail_with = MIB, OriginUnreachableError("test", "lost")
        with pytest.raises(OriginUnreachableError):
            await one.parts.read_origin(one.wanted(CONTENT), 0, 2 * MIB, memoryview(buffer))


async def test_holes_in_what_peers_have_come_from_the_origin() -> None:
    """The list is known, a chunk is nobody's: it alone is asked of the origin, as a range."""

    def all_but_one(message: Any) -> list[Any]:
        states = CONTENT.midstates
        return [
            State(message.digest, CONTENT.size, complete=False, have=b"\x02"),
            Midstates(message.digest, 0, states.states, states.list_id()),
        ]

    async with cluster() as world:
        world.board.leases = False
        await world.liar(CONTENT, messages=all_but_one)
        one = await node(world)
        async with one.open(CONTENT):
            runner = one.engine._runners[CONTENT.digest]
            await until(lambda: runner.partial is not None and 1 in runner.partial.have)
            world.board.leases = True
            world.board.changed(str(CONTENT.digest))
            await runner.ended.wait()
        assert one.kept(CONTENT) == CONTENT.data
        assert world.origin.egress == MIB
