from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.http_rig import Memory, Rig


@pytest.fixture
async def rig(nursery: trio.Nursery) -> AsyncIterator[Rig]:
    rig = Rig(nursery)
    yield rig
    for stream in rig.streams:
        await trio.aclose_forcefully(stream)
    for server in rig.servers:
        server.stop()


@pytest.fixture
def memory(nursery: trio.Nursery) -> Memory:
    return Memory(nursery)
