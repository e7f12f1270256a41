from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.content.memory import MemoryContent
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.errors import ContentError
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.registry.catalog import HostedCatalog
from p2p.registry.sharing import OWNER
from tests.support.push_rig import APP, Push, descriptor

if TYPE_CHECKING:
    from p2p.core.oci.reference import Repository
    from p2p.metadata.api import TagRow


async def test_what_was_pushed_is_read_from_the_beginning() -> None:
    push = Push()
    for name in ("team/app", "team/b"):
        await push.image("2", name=name)
    first = await push.image("1", annotations={"a": "x" * 70_000})
    await push.image("sig", subject=descriptor(OCI_MANIFEST, first, b"x"))
    catalog = HostedCatalog(metadata=push.hosting, records=push.hosting, store=push.store)

    assert [each.path for each in await catalog.repositories(9)] == ["team/app", "team/b"]
    assert [each.path for each in await catalog.repositories(1, "team/app")] == ["team/b"]
    tags = await catalog.tags(APP, 9)
    assert [tag for tag, _ in tags] == ["1", "2", "sig"]
    assert tags[0][1].digest == first
    assert len(await catalog.referrers(APP, first, 9)) == 1
    data = await catalog.read(APP, first, 1 << 20)
    assert data is not None
    assert Digest.of(data) == first


async def test_what_is_not_there_or_not_reached_is_not_read() -> None:
    push = Push()
    digest = await push.blob(b"content", "team/b")
    catalog = HostedCatalog(metadata=push.hosting, records=push.hosting, store=push.store)
    assert await catalog.read(APP, digest, 100) is None
    assert await catalog.read(APP, Digest.of(b"none"), 100) is None
    await push.blob(b"content")
    assert await catalog.read(APP, digest, 3) is None
    assert await catalog.read(APP, digest, 100) == b"content"


async def test_a_page_whose_tags_all_go_meanwhile_is_not_the_end() -> None:
    class Fading(MemoryHosting):
        """Loses tags between their names and their rows."""

        async def tag(self, repository: Repository, tag: str) -> TagRow | None:
            return None if tag < "3" else await super().tag(repository, tag)

    push = Push(hosting=Fading())
    for tag in ("1", "2", "3", "4"):
        await push.image(tag)
    catalog = HostedCatalog(metadata=push.hosting, records=push.hosting, store=push.store)
    assert [tag for tag, _ in await catalog.tags(APP, 2)] == ["3", "4"]
    assert [tag for tag, _ in await catalog.tags(APP, 1)] == ["3"]
    assert [tag for tag, _ in await catalog.tags(APP, 3)] == ["3"]
    assert await catalog.tags(APP, 2, "4") == []


async def test_what_is_not_here_is_got_from_what_front_ends_share() -> None:
    content = MemoryContent()
    one = Push(content=content)
    other = Push(hosting=one.hosting, content=content)
    top = await one.image("1")
    catalog = HostedCatalog(
        metadata=other.hosting, records=other.hosting, store=other.store, transfer=other.transfer
    )
    data = await catalog.read(APP, top, 1 << 20)
    assert data is not None
    assert Digest.of(data) == top
    assert await catalog.read(APP, top, 10) is None
    assert await catalog.read(APP, Digest.of(b"none"), 10) is None
    # Down is not lost: who builds an index tries again.
    content.failure = ContentError(content.name, "it is down")
    with pytest.raises(ContentError):
        await catalog.read(APP, top, 1 << 20)
    content.failure = None
    for key in [key for key in content.objects if not key.startswith(OWNER)]:
        del content.objects[key]
    assert await catalog.read(APP, top, 1 << 20) is None
