from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
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

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Changed


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


async def test_building_anew_gives_what_the_events_gave(
    index: Index, catalog: MemoryCatalog, tmp_path: Path
) -> None:
    pushed = fill(catalog)
    catalog.delete("team/web", pushed["arm"])
    catalog.untag("team/web", "latest")
    catalog.image("never", annotations={"tagged": "no"})
    indexer = Indexer(index, catalog)
    await indexer.send(catalog.events)
    by_events = await snapshot(index)
    await indexer.follow()
    assert await snapshot(index) == by_events
    assert len(by_events) == 5
    assert await index.progress.is_complete()
    (tmp_path / "new").mkdir()
    async with open_index(tmp_path / "new") as new:
        await Indexer(new, catalog).follow()
        assert await snapshot(new) == by_events


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
    await indexer.follow()
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
        while not await index.progress.is_complete():
            await trio.lowlevel.checkpoint()


async def test_a_catalog_that_fails_is_asked_again(index: Index, catalog: MemoryCatalog) -> None:
    indexer = Indexer(index, catalog)
    fill(catalog)
    catalog.error = LocalError("metadata", "locked")
    with pytest.raises(LocalError):
        await indexer.send(catalog.events)
    assert await snapshot(index) == []
    with pytest.raises(LocalError):
        await indexer.follow()
    assert not await index.progress.is_complete()
    catalog.error = None
    await indexer.send(catalog.events)
    assert len(await snapshot(index)) == 5


async def test_a_failed_build_is_tried_again(
    index: Index, catalog: MemoryCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog)
    failed = trio.Event()

    async def failing(n: int, after: tuple[int, str] = (0, "")) -> list[Changed]:
        del catalog.changes
        failed.set()
        raise ContentError("s3://bucket", "it is down")

    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    catalog.changes = failing  # type: ignore[method-assign]
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


async def test_missed_events_cost_what_changed_since(index: Index, catalog: MemoryCatalog) -> None:
    catalog.image("old", "1")
    indexer = Indexer(index, catalog)
    async with trio.open_nursery() as nursery:
        await nursery.start(indexer.run)
        await until_complete(index)
        catalog.now += 2 * module.OVERLAP
        catalog.image("new", "1")
        catalog.reads.clear()
        await indexer.missed()
        await until_complete(index)
        nursery.cancel_scope.cancel()
    assert len(await snapshot(index)) == 2
    assert catalog.reads, "the new one"
    assert set(catalog.reads) <= {digest for each, digest in catalog.content if each.path == "new"}


async def test_what_is_missed_meanwhile_keeps_it_incomplete(index: Index, catalog: MemoryCatalog) -> None:
    fill(catalog)
    indexer = Indexer(index, catalog)
    changes = catalog.changes

    async def missing(n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        page = await changes(n, after)
        if not page:
            await indexer.missed()
        return page

    catalog.changes = missing  # type: ignore[method-assign]
    await indexer.follow()
    assert not await index.progress.is_complete()
    catalog.changes = changes  # type: ignore[method-assign]
    await indexer.follow()
    assert await index.progress.is_complete()


async def test_the_index_of_another_database_is_forgotten(index: Index, catalog: MemoryCatalog) -> None:
    fill(catalog)
    await Indexer(index, catalog).follow()
    other = MemoryCatalog()
    other.database = "two"
    other.image("new", "1")
    await Indexer(index, other).follow()
    assert [one.document.repository.path for one in (await index.search((), n=9)).found] == ["new"]
    assert await index.progress.is_complete()


async def test_a_node_that_got_another_database_begins_anew(index: Index, catalog: MemoryCatalog) -> None:
    fill(catalog)
    await Indexer(index, catalog).follow()
    other = MemoryCatalog()
    other.database = "two"
    other.image("new", "1")
    async with trio.open_nursery() as nursery:
        await nursery.start(Indexer(index, other).run)
        await found(index, "", "new")
        nursery.cancel_scope.cancel()


# ── what can't be read now ─────────────────────────────────────────────────────────────────────────


async def test_what_cannot_be_read_is_put_off_and_all_else_is_there(
    index: Index, catalog: MemoryCatalog
) -> None:
    pushed = fill(catalog)
    catalog.lost = {pushed["web"].digest}
    indexer = Indexer(index, catalog)
    await indexer.follow()
    assert len(await snapshot(index)) == 4
    assert await index.progress.is_complete()
    waiting = await index.progress.waiting(9)
    assert [each.path for each in waiting] == ["team/web"]
    catalog.lost.clear()
    await indexer._retry()
    assert len(await snapshot(index)) == 5
    assert await index.progress.waiting(9) == []
    (web,) = (await index.search(parse_query("tag:latest"), n=5)).found
    assert web.tags == ("1.0", "latest")


async def test_a_push_that_cannot_be_read_does_not_hold_up_those_behind(
    index: Index, catalog: MemoryCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    lost = catalog.image("lost", "1")
    catalog.image("found", "1")
    catalog.lost = {lost.digest}
    indexer = Indexer(index, catalog)
    await index.progress.begin(catalog.database)
    await index.progress.mark(complete=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(indexer.run)
        await indexer.send(catalog.events)
        assert await paths(index, "") == ["found"]
        assert [each.path for each in await index.progress.waiting(9)] == ["lost"]
        catalog.lost.clear()
        await found(index, "tag:1", "found", "lost")
        nursery.cancel_scope.cancel()


async def test_where_much_cannot_be_read_the_rest_is_put_off_unread(
    index: Index, catalog: MemoryCatalog
) -> None:
    images = [catalog.image(f"app-{number}", "1") for number in range(9)]
    catalog.lost = {one.digest for one in images}
    indexer = Indexer(index, catalog)
    await indexer.follow()
    assert len(catalog.reads) == module.FAILURES
    assert len(await index.progress.waiting(99)) == 9
    catalog.reads.clear()
    await indexer._retry()
    assert catalog.reads == [one.digest for one in images[: module.FAILURES]]
    catalog.lost.remove(images[3].digest)
    catalog.reads.clear()
    await indexer._retry()
    assert catalog.reads[0] == images[3].digest, "those that failed wait behind the others"
    assert len(await snapshot(index)) == 1


async def test_what_cannot_be_read_for_long_is_tried_ever_more_rarely(
    index: Index, catalog: MemoryCatalog, mock_clock: trio.testing.MockClock
) -> None:
    lost = catalog.image("lost", "1")
    catalog.lost = {lost.digest}
    indexer = Indexer(index, catalog)
    await indexer.follow()
    pauses = [indexer._retry_at]
    for _ in range(9):
        await indexer._retry()
        pauses.append(indexer._retry_at)
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    catalog.lost.clear()
    await indexer._retry()
    await indexer._retry()
    assert (indexer._retry_at, indexer._retry_pause) == (0, 30), "at once, and as at the beginning"
    catalog.lost = {catalog.image("next", "1").digest}
    await indexer.follow()
    assert indexer._retry_at == 30


# ── two front ends on one database ─────────────────────────────────────────────────────────────────


@pytest.fixture
def poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


@pytest.fixture
async def other(index: Index, catalog: MemoryCatalog, poll: None) -> AsyncIterator[Indexer]:
    """At another front end than those events are of: it hears of nothing."""
    async with trio.open_nursery() as nursery:
        indexer = Indexer(index, catalog, shared=True)
        await nursery.start(indexer.run)
        yield indexer
        nursery.cancel_scope.cancel()


async def paths(index: Index, query: str) -> list[str]:
    page = await index.search(parse_query(query), n=99)
    return sorted(one.document.repository.path for one in page.found)


async def found(index: Index, query: str, *wanted: str) -> None:
    """Wait until a query finds these repositories and no others."""
    with trio.fail_after(30):
        while await paths(index, query) != sorted(wanted):
            await trio.lowlevel.checkpoint()


async def test_what_another_front_end_does_is_found(
    index: Index, catalog: MemoryCatalog, other: Indexer
) -> None:
    pushed = fill(catalog)
    await found(index, "", *["team/web"] * 4, "other/db")
    catalog.now += 3 * module.OVERLAP
    second = catalog.image("other/db", "15.2", annotations={"vendor": "another"})
    await found(index, "tag:15.2 annotation:vendor=another", "other/db")
    await found(index, "tag:15.2", "other/db")
    await found(index, "repository:other/db", "other/db", "other/db")
    catalog.delete("other/db", second)
    catalog.untag("team/web", "latest")
    await found(index, "repository:other/db", "other/db")
    await found(index, "tag:15.2")
    await found(index, "tag:latest")
    catalog.delete("team/web", pushed["web"])
    await found(index, "tag:1.0")
    await found(index, "", *["team/web"] * 3, "other/db")


async def test_own_pushes_are_found_at_once(
    index: Index, catalog: MemoryCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600)
    indexer = Indexer(index, catalog, shared=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(indexer.run)
        await until_complete(index)
        catalog.image("ours", "1")
        await indexer.send(catalog.events[-1:])
        await found(index, "tag:1", "ours")
        nursery.cancel_scope.cancel()


async def test_it_rests_between_rounds_by_how_long_they_take(
    index: Index, catalog: MemoryCatalog, mock_clock: trio.testing.MockClock
) -> None:
    rounds: list[float] = []
    changes = catalog.changes

    async def slow(n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        rounds.append(trio.current_time())
        mock_clock.jump(10)
        return await changes(n, after)

    catalog.changes = slow  # type: ignore[method-assign]
    indexer = Indexer(index, catalog, shared=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(indexer.run)
        while len(rounds) < 3:
            await until_complete(index)
            mock_clock.jump(0.1)
        nursery.cancel_scope.cancel()
    pauses = [later - earlier - 10 for earlier, later in pairwise(rounds)]
    assert all(module.REST * 10 <= pause <= module.REST * 10 + 5 for pause in pauses), pauses


async def test_an_event_that_comes_late_does_not_undo_what_another_one_did(
    index: Index, catalog: MemoryCatalog
) -> None:
    catalog.image("app", "1", size=1)
    catalog.image("app", "1", size=2, annotations={"is": "theirs"})
    indexer = Indexer(index, catalog, shared=True)
    await indexer.follow()
    await indexer.send(catalog.events[:1])
    await indexer.follow()
    assert await paths(index, "tag:1 annotation:is=theirs") == ["app"]


async def test_what_comes_to_be_seen_late_is_found(index: Index, catalog: MemoryCatalog) -> None:
    late = catalog.image("late", "1")
    (repository,) = catalog.changed
    at = catalog.changed.pop(repository)
    indexer = Indexer(index, catalog, shared=True)
    catalog.now += module.OVERLAP // 2
    catalog.image("early", "1")
    await indexer.follow()
    catalog.changed[repository] = at
    catalog.reads.clear()
    await indexer.follow()
    assert late.digest in catalog.reads
    assert len(await snapshot(index)) == 2


async def test_what_was_seen_is_not_looked_at_again_and_little_is_kept(
    index: Index, catalog: MemoryCatalog
) -> None:
    indexer = Indexer(index, catalog, shared=True)
    asked: list[str] = []
    manifests = catalog.manifests

    async def counting(repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        asked.append(repository.path)
        return await manifests(repository, n, last)

    catalog.manifests = counting  # type: ignore[method-assign]
    for number in range(250):
        catalog.now += module.OVERLAP // 10
        catalog.image(f"app-{number}", "1")
    await indexer.follow()
    assert len(set(asked)) == 250
    assert len(indexer._synced) <= 12
    asked.clear()
    for _ in range(3):
        await indexer.follow()
    assert asked == []
    # After a restart those of the last minute, and no manifest anew.
    catalog.reads.clear()
    await Indexer(index, catalog, shared=True).follow()
    assert 9 <= len(set(asked)) <= 12
    assert catalog.reads == []


async def test_a_database_that_is_down_for_a_while(
    index: Index, catalog: MemoryCatalog, other: Indexer
) -> None:
    await until_complete(index)
    catalog.error = LocalError("metadata", "down")
    asked = catalog.failed
    with trio.fail_after(30):
        while catalog.failed < asked + 3:
            await trio.lowlevel.checkpoint()
    catalog.error = None
    fill(catalog)
    await found(index, "", *["team/web"] * 4, "other/db")


async def test_a_build_that_is_interrupted_goes_on_where_it_was(index: Index, catalog: MemoryCatalog) -> None:
    for number in range(150):
        catalog.now += module.OVERLAP
        catalog.image(f"app-{number}", "1")
    changes = catalog.changes

    async def breaking(n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        if after[1]:
            raise LocalError("metadata", "down")
        return await changes(n, after)

    catalog.changes = breaking  # type: ignore[method-assign]
    with pytest.raises(LocalError):
        await Indexer(index, catalog).follow()
    assert not await index.progress.is_complete()
    catalog.changes = changes  # type: ignore[method-assign]
    catalog.reads.clear()
    await Indexer(index, catalog).follow()
    assert len(catalog.reads) == 2 * 50, "a manifest and a config of each"
    assert len(await snapshot(index)) == 150
    assert await index.progress.is_complete()
