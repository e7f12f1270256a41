from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING

import pytest

from p2p.core.oci.reference import Repository
from p2p.search import sync as module
from p2p.search.index import Index, Put, Tagged, open_index
from p2p.search.sync import Budget, synchronize
from tests.support.catalog import MemoryCatalog

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.descriptor import Descriptor

APP = Repository("hosted", "app")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path) as index:
        yield index


@pytest.fixture
def catalog() -> MemoryCatalog:
    return MemoryCatalog()


async def same(index: Index, catalog: MemoryCatalog, repository: Repository = APP) -> bool:
    """Whether the index has what the catalog says of a repository, by every way to ask it."""
    listed = sorted(catalog.listed.get(repository, ()))
    tagged = sorted((tag, str(one.digest)) for tag, one in catalog.tagged.get(repository, {}).items())
    found = (await index.search((), repository=repository.path, n=1000)).found
    assert sorted(one.document.digest for one in found) == listed
    assert sorted((tag, one.document.digest) for one in found for tag in one.tags) == tagged
    assert await index.digests(repository, "", None, 1000) == listed
    return await index.tags(repository, "", None, 1000) == tagged


@pytest.mark.parametrize("page", [1, 2, 3, 100])
async def test_from_anything_to_anything(
    index: Index, catalog: MemoryCatalog, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    rng = Random(page)
    pushed: list[Descriptor] = []
    for _ in range(12):
        for _ in range(rng.randrange(6)):
            tags = rng.sample("abcdefg", rng.randrange(3))
            pushed.append(catalog.image("app", *tags, size=rng.randrange(1, 1 << 40)))
        for _ in range(rng.randrange(4)):
            gone = pushed.pop(rng.randrange(len(pushed))) if pushed else None
            if gone is not None:
                catalog.delete("app", gone)
        for tag in [tag for tag in catalog.tagged.get(APP, ()) if rng.random() < 0.3]:
            catalog.untag("app", tag)
        assert await synchronize(index, catalog, APP, Budget(3))
        assert await same(index, catalog)


async def test_again_changes_nothing_and_reads_nothing(index: Index, catalog: MemoryCatalog) -> None:
    for number in range(5):
        catalog.image("app", f"{number}")
    await synchronize(index, catalog, APP, Budget(3))
    before = await index.search((), n=99)
    catalog.reads.clear()
    assert await synchronize(index, catalog, APP, Budget(3))
    assert await index.search((), n=99) == before
    assert catalog.reads == []


async def test_a_repository_that_is_gone(index: Index, catalog: MemoryCatalog) -> None:
    catalog.image("apps", "1")
    catalog.image("app", "1", "2")
    for each in (APP, Repository("hosted", "apps")):
        await synchronize(index, catalog, each, Budget(3))
    del catalog.listed[APP], catalog.tagged[APP]
    assert await synchronize(index, catalog, APP, Budget(3))
    assert [one.document.repository.path for one in (await index.search((), n=9)).found] == ["apps"]
    assert await index.tags(APP, "", None, 9) == []


async def test_tags_are_right_even_where_a_manifest_cannot_be_read(
    index: Index, catalog: MemoryCatalog
) -> None:
    first = catalog.image("app", "1", size=1)
    await synchronize(index, catalog, APP, Budget(3))
    lost = catalog.image("app", "1", size=2)
    catalog.lost = {lost.digest}
    budget = Budget(3)
    assert not await synchronize(index, catalog, APP, budget)
    assert budget.failures == 2
    (found,) = (await index.search((), n=9)).found
    assert (found.document.digest, found.tags) == (str(first.digest), ())
    catalog.lost.clear()
    assert await synchronize(index, catalog, APP, budget)
    assert await same(index, catalog)


async def test_a_config_that_cannot_be_read_now_is_waited_for(index: Index, catalog: MemoryCatalog) -> None:
    catalog.image("app", "1", platform="linux/arm64")
    (config,) = {digest for _, digest in catalog.content} - {
        one.digest for one in catalog.tagged[APP].values()
    }
    catalog.lost = {config}
    assert not await synchronize(index, catalog, APP, Budget(3))
    assert (await index.search((), n=9)).found == ()
    catalog.lost.clear()
    assert await synchronize(index, catalog, APP, Budget(3))
    (found,) = (await index.search((), n=9)).found
    assert found.document.platforms == ("linux/arm64",)


async def test_what_is_deleted_while_it_is_read(index: Index, catalog: MemoryCatalog) -> None:
    image = catalog.image("app", "1")
    del catalog.content[APP, image.digest]
    assert await synchronize(index, catalog, APP, Budget(3))
    assert (await index.search((), n=9)).found == ()
    del catalog.listed[APP], catalog.tagged[APP]
    assert await synchronize(index, catalog, APP, Budget(3))
    assert await same(index, catalog)


async def test_without_a_budget_nothing_is_read_and_all_else_is_done(
    index: Index, catalog: MemoryCatalog
) -> None:
    gone = catalog.image("app", "1", size=1)
    await synchronize(index, catalog, APP, Budget(3))
    catalog.delete("app", gone)
    catalog.image("app", "2", size=2)
    catalog.reads.clear()
    assert not await synchronize(index, catalog, APP, Budget(0))
    assert catalog.reads == []
    assert (await index.search((), n=9)).found == ()


async def test_what_it_does_is_what_changes_would_have_done(index: Index, catalog: MemoryCatalog) -> None:
    """A tag that was moved is found by its words at its new place only."""
    first = catalog.image("app", "stable", size=1)
    await synchronize(index, catalog, APP, Budget(3))
    second = catalog.image("app", "stable", size=2)
    await synchronize(index, catalog, APP, Budget(3))
    before = await index.search((), n=9)
    found = {one.document.digest: one.document for one in before.found}
    assert set(found) == {str(first.digest), str(second.digest)}
    await index.apply(
        [Put(found[str(second.digest)], ("stable",)), Tagged(APP, "stable", str(second.digest))]
    )
    assert await index.search((), n=9) == before
