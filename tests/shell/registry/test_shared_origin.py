"""The shared content as the origin of what is hosted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from p2p.content.memory import MemoryContent
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.errors import ContentError, LocalError, OriginNotFoundError
from p2p.metadata.hosting import Place
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.origin.api import Kind
from p2p.registry.shared_origin import SharedOrigin
from tests.support.content_suite import put
from tests.support.push_rig import APP

DATA = b"hello world"
DIGEST = Digest.of(DATA)
BLOB = Descriptor("application/octet-stream", DIGEST, len(DATA))


class World:
    def __init__(self) -> None:
        self.content = MemoryContent()
        self.hosting = MemoryHosting()
        self.origin = SharedOrigin(self.content, self.hosting)

    async def at(self, key: str) -> None:
        now = datetime.now(UTC)
        await self.hosting.intend(key, now)
        await put(self.content, key, DATA)
        assert await self.hosting.add_blob(APP, BLOB, lease=now, place=Place(key))

    async def read(self, offset: int = 0, stop: int | None = None) -> bytes:
        async with self.origin.open("team/app", DIGEST, Kind.BLOB, offset=offset, stop=stop) as body:
            assert body.size == len(DATA)
            return b"".join([part async for part in body])


async def test_its_bytes() -> None:
    world = World()
    await world.at("one")
    assert await world.read() == DATA
    assert await world.read(3, 7) == DATA[3:7]
    assert world.origin.name == "memory://content"


async def test_what_is_not_hosted_is_not_found() -> None:
    with pytest.raises(OriginNotFoundError, match="not hosted any more"):
        await World().read()


async def test_what_has_no_place_yet_may_come() -> None:
    world = World()
    await world.hosting.add_blob(APP, BLOB, lease=datetime.now(UTC))
    with pytest.raises(ContentError, match="is not there yet"):
        await world.read()


async def test_what_is_missing_is_said_to_be() -> None:
    world = World()
    await world.at("one")
    world.content.objects.clear()
    with pytest.raises(ContentError, match=r"its object one is missing.*Push it again"):
        await world.read()


async def test_what_was_collected_and_pushed_again_is_found_where_it_is() -> None:
    world = World()
    await world.at("one")
    real = world.hosting.place
    moved: list[str] = []

    async def place(digest: Digest) -> str | None:
        key = await real(digest)
        if not moved:  # between the question and the opening
            moved.append("one")
            await world.content.remove("one")
            later = datetime.now(UTC) + timedelta(days=1)
            assert await world.hosting.claim(DIGEST, later) is not None
            await world.hosting.collected(DIGEST, "one")
            await world.at("two")
        return key

    world.hosting.place = place  # type: ignore[method-assign]
    assert await world.read() == DATA


async def test_a_database_that_is_down_is_no_broken_swarm() -> None:
    world = World()

    async def down(_: Digest) -> str | None:
        raise LocalError("metadata database", "it is down")

    world.hosting.place = down  # type: ignore[method-assign]
    with pytest.raises(ContentError, match="it is down"):
        await world.read()
