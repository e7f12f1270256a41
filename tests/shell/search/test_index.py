from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.search import index as module
from p2p.search.api import Document
from p2p.search.index import FILE, Index, Put, Remove, Tagged, Untag, open_index
from p2p.search.query import FILTERS, parse_query
from p2p.search.schema import SCHEMA, VERSION, statement

if TYPE_CHECKING:
    from pathlib import Path

APP = Repository("hosted", "team/app")


def document(digest: str, **more: object) -> Document:
    fields: dict[str, object] = {"media_type": "m/t", "artifact_type": "a/t", "size": 10} | more
    return Document(APP, digest, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path) as index:
        yield index


async def digests(index: Index, text: str = "", **more: object) -> list[str]:
    page = await index.search(parse_query(text), n=100, **more)  # type: ignore[arg-type]
    return [one.document.digest for one in page.found]


async def test_a_document_comes_back_as_it_was(index: Index) -> None:
    one = document("sha256:1", platforms=("linux/arm64",), annotations=(("k", "v"),), subject="sha256:0")
    await index.apply([Put(one, ("b", "a"))])
    (found,) = (await index.search((), n=5)).found
    assert (found.document, found.tags, found.referrers) == (one, ("a", "b"), 0)


async def test_changes_made_twice_change_nothing(index: Index) -> None:
    changes = [Put(document("sha256:1"), ("1",)), Untag(APP, "2"), Remove(APP, "sha256:9")]
    await index.apply(changes)
    before = await index.search((), n=5)
    await index.apply(changes)
    assert await index.search((), n=5) == before


async def test_a_tag_that_moves_is_found_at_its_new_place_only(index: Index) -> None:
    await index.apply([Put(document("sha256:1"), ("stable",)), Put(document("sha256:2"), ("stable",))])
    assert await digests(index, "stable") == ["sha256:2"]
    assert await digests(index, "tag:stab*") == ["sha256:2"]


async def test_a_tag_or_manifest_that_goes(index: Index) -> None:
    await index.apply([Put(document("sha256:1"), ("one",)), Put(document("sha256:2"), ("two",))])
    await index.apply([Untag(APP, "one")])
    assert await digests(index, "one") == []
    assert await digests(index) == ["sha256:2", "sha256:1"]
    await index.apply([Remove(APP, "sha256:2")])
    assert await digests(index) == ["sha256:1"]
    assert await digests(index, "two") == []


async def test_pages(index: Index) -> None:
    await index.apply([Put(document(f"sha256:{number}")) for number in range(5)])
    first = await index.search((), n=2)
    second = await index.search((), before=first.after, n=2)
    third = await index.search((), before=second.after, n=2)
    seen = [one.document.digest for page in (first, second, third) for one in page.found]
    assert seen == [f"sha256:{number}" for number in (4, 3, 2, 1, 0)]
    assert third.after is None
    exact = await index.search((), before=first.after, n=3)
    assert exact.after is None


async def test_one_repository_only(index: Index) -> None:
    await index.apply([Put(document("sha256:1"))])
    assert await digests(index, repository="team/app") == ["sha256:1"]
    assert await digests(index, repository="team/apps") == []


async def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_index(tmp_path) as index:
        await index.apply([Put(document("sha256:1"), ("1",))])
    async with open_index(tmp_path) as index:
        assert await digests(index, "1") == ["sha256:1"]


async def test_the_index_of_an_earlier_release_is_built_anew(tmp_path: Path) -> None:
    async with open_index(tmp_path) as index:
        await index.apply([Put(document("sha256:1"), ("1",))])
        await index.progress.mark(complete=True)
    raw = sqlite3.connect(tmp_path / FILE)
    raw.execute(f"PRAGMA user_version = {VERSION - 1}")
    raw.close()
    async with open_index(tmp_path) as index:
        assert await digests(index) == []
        assert not await index.progress.is_complete()
        await index.apply([Put(document("sha256:1"), ("1",))])
        assert await digests(index, "1") == ["sha256:1"]


async def test_a_tag_may_come_before_its_document(index: Index) -> None:
    await index.apply([Put(document("sha256:1"), ("stable",)), Tagged(APP, "stable", "sha256:2")])
    assert await digests(index, "stable") == []
    await index.apply([Put(document("sha256:2"))])
    assert await digests(index, "stable") == await digests(index, "tag:stable") == ["sha256:2"]


async def test_documents_and_tags_are_read_by_range(index: Index) -> None:
    names = [f"sha256:{number}" for number in range(5)]
    await index.apply([Put(document(name), (f"t{name[-1]}",)) for name in reversed(names)])
    assert await index.digests(APP, "", None, 9) == names
    assert await index.digests(APP, names[0], names[3], 9) == names[1:4]
    assert await index.digests(APP, names[0], None, 2) == names[1:3]
    assert await index.tags(APP, "t0", "t2", 9) == [("t1", names[1]), ("t2", names[2])]
    assert await index.tags(APP, "", None, 1) == [("t0", names[0])]
    other = Repository("hosted", "team/apps")
    assert await index.digests(other, "", None, 9) == []
    assert await index.tags(other, "", None, 9) == []


async def test_a_query_that_takes_too_long_is_refused(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    await index.apply([Put(document(f"sha256:{number}")) for number in range(50)])
    monkeypatch.setattr(module, "STEP", 10)
    monkeypatch.setattr(module, "MAX_STEPS", 3)
    with pytest.raises(RegistryError, match="takes too long") as caught:
        await digests(index, "referrers:>5")
    assert caught.value.status == 400
    monkeypatch.undo()
    assert len(await digests(index)) == 50


FRAGMENTS = st.sampled_from(
    ["*", '"', "'", "(", ")", "^", "-", "+", ":", "{", "}", "NEAR(", "AND", "OR", "NOT", "a", "text:", "\\"]
)
HOSTILE = (
    st.text(max_size=40)
    | st.lists(FRAGMENTS, max_size=20).map("".join)
    | st.lists(FRAGMENTS, max_size=20).map(" ".join)
    | st.tuples(st.sampled_from(FILTERS), st.text(max_size=40)).map(":".join)
    | st.text(st.characters(categories=["M", "N", "L", "Sk", "Lm"]), max_size=20)
)


@pytest.fixture(scope="module")
def tables() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for one in SCHEMA:
        connection.execute(one)
    connection.execute("INSERT INTO words (rowid, text) VALUES (1, 'a text of words')")
    yield connection
    connection.close()


@settings(max_examples=300)
@example(text='"( a"')
@example(text='x"" OR a""')
@example(text='"a" NEAR( "^ b"')
@given(text=HOSTILE)
def test_no_query_fails(tables: sqlite3.Connection, text: str) -> None:
    try:
        terms = parse_query(text)
    except RegistryError:
        return
    tables.execute(*statement(terms, repository=None, before=None, n=5)).fetchall()
