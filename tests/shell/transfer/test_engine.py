"""Whole nodes in one process: the origin is asked once, every reader gets the right bytes."""

from __future__ import annotations

import pytest
import trio

from tests.support.cluster import cluster
from tests.support.store_rig import MIB, blob


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 5, 18 * MIB])
async def test_nodes_cold_at_once_take_one_copy_from_the_origin(size: int, algorithm: str) -> None:
    content = blob(size, algorithm=algorithm)
    async with cluster() as world:
        world.origin.hold(content)
        nodes = await world.start(4)
        read = {}

        async def pull(node):
            read[node.name] = await node.read(content)

        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(pull, node)
        assert all(data == content.data for data in read.values())
        assert len(read) == 4
        for node in nodes:
            await node.settled()
            assert node.kept(content) == content.data
        assert world.origin.egress == size
