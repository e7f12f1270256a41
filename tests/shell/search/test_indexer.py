from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.errors import ContentError, LocalError
from p2p.notifications.api import What
from p2p.search import indexer as module
from p2p.search.index import Index, open_index
from p2p.search.indexer import Indexer
from p2p.search.query import parse_query
from tests.support.catalog import MemoryCatalog, fill

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.reference import Repository


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path) as index:
        yield index


@pytest.fixture
def catalog() -> MemoryCatalog:
    return MemoryCatalog()


async def snapshot(index: Index) -> list[tuple[object, ...]]:
    """What the index holds, without its keys."""
    page = await index.search((), n=1000)
    return sorted((one.document, one.tags, one.referrers) for one in page.found)


@pytest.fixture(autouse=True)
def order(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2p.search.api import Document

    monkeypatch.setattr(Document, "__lt__", lambda a, b: repr(a) < repr(b), raising=False)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["sbom", "all", "db", "arm", "web"]),
        ("shop", ["web"]),
        ("sho wind", ["web"]),
        ('"shop window"', ["web"]),
        ('"window shop"', []),
        ("creme", ["db"]),
        ("latest", ["web"]),
        ("team web 1.0", ["arm", "web"]),
        ("repository:team/*", ["sbom", "all", "arm", "web"]),
        ("repository:team", []),
        ("tag:1.0*", ["arm", "web"]),
        ("platform:linux/arm64", ["all", "arm"]),
        ("platform:linux/arm64/v8", ["arm"]),
        ("platform:linux/arm", []),
        ("platform:linux", ["sbom", "all", "db", "arm", "web"]),
        ("artifact-type:application/spdx*", ["sbom"]),
        ("media-type:*index*", ["all"]),
        ("annotation:vendor", ["db"]),
        ('annotation:vendor="Crème & Söhne"', ["db"]),
        ("annotation:vendor=x", []),
        ("size:>100MB", ["arm"]),
        ("size:>100MB platform:windows", []),
        ("referrers:>0", ["web"]),
    ],
)
async def test_what_is_found(index: Index, catalog: MemoryCatalog, query: str, names: list[str]) -> None:
    pushed = fill(catalog)
    await Indexer(index, catalog).send(catalog.events)
    known = {str(one.digest): name for name, one in pushed.items()}
    page = await index.search(parse_query(query), n=100)
    assert [known[one.document.digest] for one in page.found] == names


async def test_digest_and_subject(index: Index, catalog: MemoryCatalog) -> None:
    pushed = fill(catalog)
    await Indexer(index, catalog).send(catalog.events)
    web = str(pushed["web"].digest)
    for query in (f"digest:{web}", f"digest:{web[:20]}"):
        assert [one.document.digest for one in (await index.search(parse_query(query), n=5)).found] == [web]
    (sbom,) = (await index.search(parse_query(f"subject:{web}"), n=5)).found
    assert sbom.document.digest == str(pushed["sbom"].digest)


async def test_building_anew_gives_what_the_events_gave(index: Index, catalog: MemoryCatalog) -> None:
    pushed = fill(catalog)
    catalog.delete("team/web", pushed["arm"])
    catalog.untag("team/web", "latest")
    indexer = Indexer(index, catalog)
    await indexer.send(catalog.events)
    by_events = await snapshot(index)
    await indexer.rebuild()
    assert await snapshot(index) == by_events
    assert len(by_events) == 4
    assert await index.is_complete()


async def test_events_that_come_again_or_too_late_end_where_the_catalog_is(
    index: Index, catalog: MemoryCatalog
) -> None:
    rng = Random(7)
    indexer = Indexer(index, catalog)
    for _ in range(60):
        name = rng.choice(["a", "b"])
        tags = dict(catalog.tagged.get(next((r for r in catalog.tagged if r.path == name), None), {}))  # type: ignore[arg-type]
        if tags and rng.random() < 0.4:
            tag = rng.choice(sorted(tags))
            if rng.random() < 0.5:
                catalog.untag(name, tag)
            else:
                catalog.delete(name, tags[tag])
        else:
            catalog.image(name, rng.choice("123"), size=rng.randrange(1, 5))
    await indexer.rebuild()
    await indexer.send(catalog.events[:40])
    await indexer.send(catalog.events[20:])
    by_events = await snapshot(index)
    tagged = {
        (repository.path, tag, str(target.digest))
        for repository, tags in catalog.tagged.items()
        for tag, target in tags.items()
    }
    assert tagged == {
        (one.document.repository.path, tag, one.document.digest)
        for one in (await index.search((), n=1000)).found
        for tag in one.tags
    }
    assert by_events


async def test_pulls_mounts_and_blobs_change_nothing(index: Index, catalog: MemoryCatalog) -> None:
    pushed = fill(catalog)
    indexer = Indexer(index, catalog)
    await indexer.send(catalog.events)
    before = await snapshot(index)
    for what in (What.PULL, What.MOUNT):
        catalog.tell(what, catalog.events[0].happening.repository, pushed["db"])
    await indexer.send(catalog.events[-2:])
    assert await snapshot(index) == before


async def test_it_is_built_where_it_is_not_complete_and_after_missing_events(
    index: Index, catalog: MemoryCatalog
) -> None:
    fill(catalog)
    indexer = Indexer(index, catalog)
    async with trio.open_nursery() as nursery:
        await nursery.start(indexer.run)
        await until_complete(index)
        assert len(await snapshot(index)) == 5
        catalog.image("new", "1")
        await indexer.missed()
        await until_complete(index)
        assert len(await snapshot(index)) == 6
        nursery.cancel_scope.cancel()


async def until_complete(index: Index) -> None:
    with trio.fail_after(30):
        while not await index.is_complete():
            await trio.lowlevel.checkpoint()


async def test_a_catalog_that_fails_is_asked_again(index: Index, catalog: MemoryCatalog) -> None:
    indexer = Indexer(index, catalog)
    fill(catalog)
    catalog.error = LocalError("metadata", "locked")
    with pytest.raises(LocalError):
        await indexer.send(catalog.events)
    assert await snapshot(index) == []
    with pytest.raises(LocalError):
        await indexer.rebuild()
    assert not await index.is_complete()
    catalog.error = None
    await indexer.send(catalog.events)
    assert len(await snapshot(index)) == 5


async def test_a_failed_build_is_tried_again(
    index: Index, catalog: MemoryCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog)
    failed = trio.Event()

    async def failing(n: int, last: str = "") -> list[Repository]:
        del catalog.repositories
        failed.set()
        raise ContentError("s3://bucket", "it is down")

    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    catalog.repositories = failing  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        await nursery.start(Indexer(index, catalog).run)
        await failed.wait()
        await until_complete(index)
        nursery.cancel_scope.cancel()
    assert len(await snapshot(index)) == 5


async def test_a_tag_that_moved_to_what_is_deleted_by_now(index: Index, catalog: MemoryCatalog) -> None:
    catalog.image("app", "1", size=1)
    catalog.delete("app", catalog.image("app", "1", size=2))
    await Indexer(index, catalog).send(catalog.events)
    (found,) = (await index.search((), n=5)).found
    assert found.tags == ()
