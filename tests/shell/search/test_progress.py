from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from p2p.core.oci.reference import Repository
from p2p.search.api import Document
from p2p.search.index import Index, Put, open_index

if TYPE_CHECKING:
    from pathlib import Path

APP, OTHER = Repository("hosted", "app"), Repository("hosted", "other")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path) as index:
        yield index


async def test_it_is_kept(tmp_path: Path) -> None:
    async with open_index(tmp_path) as index:
        assert not await index.progress.is_complete()
        assert await index.progress.position() == (0, "")
        await index.progress.begin("one")
        await index.progress.mark(complete=True)
        await index.progress.advance((7, "b"))
        await index.progress.put_off(APP)
    async with open_index(tmp_path) as index:
        await index.progress.begin("one")
        assert await index.progress.is_complete()
        assert await index.progress.position() == (7, "b")
        assert await index.progress.waiting(9) == [APP]


async def test_it_never_goes_back(index: Index) -> None:
    for position in ((7, "b"), (6, "c"), (7, "a")):
        await index.progress.advance(position)
        assert await index.progress.position() == (7, "b")
    await index.progress.advance((7, "c"))
    assert await index.progress.position() == (7, "c")


async def test_with_another_database_all_begins_anew(index: Index) -> None:
    await index.progress.begin("one")
    await index.apply([Put(Document(APP, "sha256:1", "m", "a", 1), ("1",))])
    await index.progress.mark(complete=True)
    await index.progress.advance((7, "b"))
    await index.progress.put_off(APP)
    await index.progress.begin("two")
    assert not await index.progress.is_complete()
    assert await index.progress.position() == (0, "")
    assert await index.progress.waiting(9) == []
    assert (await index.search((), n=9)).found == ()
    assert await index.tags(APP, "", None, 9) == []


async def test_who_waits_again_waits_behind_the_others(index: Index) -> None:
    for each in (APP, OTHER, APP):
        await index.progress.put_off(each)
    assert await index.progress.waiting(9) == [OTHER, APP]
    assert await index.progress.waiting(1) == [OTHER]
    await index.progress.done(OTHER)
    await index.progress.done(Repository("hosted", "none"))
    assert await index.progress.waiting(9) == [APP]
