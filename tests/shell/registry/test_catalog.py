from __future__ import annotations

import pytest
import trio
import trio.testing

from p2p.content.memory import MemoryContent
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.errors import ContentError, PeerError
from p2p.registry import catalog as module
from p2p.registry.catalog import HostedCatalog
from p2p.registry.sharing import OWNER
from tests.support.push_rig import APP, Push, descriptor


async def test_what_was_pushed_is_read_from_the_beginning() -> None:
    push = Push()
    other = await push.image("2", name="team/b")
    first = await push.image("1", annotations={"a": "x" * 70_000})
    signature = await push.image("sig", subject=descriptor(OCI_MANIFEST, first, b"x"))
    catalog = HostedCatalog(metadata=push.hosting, store=push.store)

    changes = await catalog.changes(9)
    assert [each.repository.path for each in changes] == ["team/b", "team/app"]
    assert [each.repository for each in await catalog.changes(9, (changes[0].at, "team/b"))] == [APP]
    assert [each.digest for each in await catalog.manifests(APP, 9)] == sorted((first, signature), key=str)
    assert await catalog.manifests(APP, 9, str(max(first, signature, key=str))) == []
    tags = await catalog.tags(APP, 9)
    assert [(tag, each.digest) for tag, each in tags] == [("1", first), ("sig", signature)]
    assert [tag for tag, _ in await catalog.tags(APP, 9, "1")] == ["sig"]
    assert await catalog.read(APP, other, 1 << 20) is None
    data = await catalog.read(APP, first, 1 << 20)
    assert data is not None
    assert Digest.of(data) == first


async def test_it_has_the_name_of_its_database() -> None:
    one, other = Push(), Push()
    names = [
        await HostedCatalog(metadata=each.hosting, store=each.store).name() for each in (one, one, other)
    ]
    assert names[0] == names[1] != names[2]


async def test_what_is_not_there_or_not_reached_is_not_read() -> None:
    push = Push()
    digest = await push.blob(b"content", "team/b")
    catalog = HostedCatalog(metadata=push.hosting, store=push.store)
    assert await catalog.read(APP, digest, 100) is None
    assert await catalog.read(APP, Digest.of(b"none"), 100) is None
    await push.blob(b"content")
    assert await catalog.read(APP, digest, 3) is None
    assert await catalog.read(APP, digest, 100) == b"content"


async def test_what_is_not_here_is_got_from_what_front_ends_share() -> None:
    content = MemoryContent()
    one = Push(content=content)
    other = Push(hosting=one.hosting, content=content)
    top = await one.image("1")
    catalog = HostedCatalog(metadata=other.hosting, store=other.store, transfer=other.transfer)
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


async def test_what_does_not_come_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    one, other = Push(), Push()
    top = await one.image("1")
    other.transfer.gate = trio.Event()
    other.transfer.peers[top] = b"never given"
    catalog = HostedCatalog(metadata=one.hosting, store=other.store, transfer=other.transfer)
    with pytest.raises(PeerError, match="30 s"):
        await catalog.read(APP, top, 1 << 20)
    assert trio.current_time() == pytest.approx(module.FETCH_SECONDS)
