"""Metadata in a real PostgreSQL: the suites of every implementation, and what several front ends share."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.errors import LocalError
from p2p.metadata import schema
from p2p.metadata.hosting import Accepted, Place
from p2p.metadata.postgres import CONNECTIONS, open_postgres
from p2p.metadata.sql import SqlMetadata, open_metadata
from p2p.metadata.upgrade import revision, upgrade
from tests.support import hosting_suite
from tests.support.hosting_suite import IMAGE, LEASE, T0, HostingSuite, Image, blob, collect, digest, push
from tests.support.metadata_suite import MetadataSuite, row
from tests.support.postgres import Postgres
from tests.support.private_suite import PrivateSuite

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from p2p.core.oci.digest import Digest

APP, OTHER = hosting_suite.APP, hosting_suite.OTHER


@pytest.fixture(scope="module")
def server(session_directory: Path) -> Iterator[Postgres]:
    with Postgres(session_directory) as running:
        yield running


@pytest.fixture
def url(server: Postgres) -> str:
    return server.make("metadata")


@pytest.fixture
async def metadata(url: str, tmp_path: Path) -> AsyncIterator[SqlMetadata]:
    async with open_metadata(tmp_path, url) as opened:
        yield opened


@pytest.fixture
async def second(metadata: SqlMetadata, url: str, tmp_path: Path) -> AsyncIterator[SqlMetadata]:
    """Another front end on the same database."""
    async with open_metadata(tmp_path, url) as opened:
        yield opened


class TestPostgresMetadata(MetadataSuite, HostingSuite, PrivateSuite):
    @pytest.fixture
    def private(self, metadata: SqlMetadata) -> SqlMetadata:
        return metadata

    @pytest.fixture
    def hosting(self, metadata: SqlMetadata) -> SqlMetadata:
        return metadata


async def test_front_ends_that_start_at_once_make_the_tables_once(url: str, tmp_path: Path) -> None:
    opened: list[SqlMetadata] = []
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> None:
            opened.append(await stack.enter_async_context(open_metadata(tmp_path, url)))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(start)
        await opened[0].put_tag(APP, "1", row())
        for each in opened:
            assert await each.tag(APP, "1") == row()


async def test_an_older_database_is_upgraded(server: Postgres, url: str, tmp_path: Path) -> None:
    async with open_postgres(url) as database:

        def back_to_version_1(connection: Connection) -> None:
            schema.tables.drop_all(connection)
            upgrade(connection, 0, target=1)

        await database.do(back_to_version_1)
    server.execute("INSERT INTO repository VALUES (7, 'docker.io', 'library/app')", "metadata")
    server.execute(f"INSERT INTO link VALUES (7, '{digest('layer')}', 'x/y', 5)", "metadata")
    async with open_metadata(tmp_path, url) as metadata:
        assert await metadata.reaches(hosting_suite.PROXIED, digest("layer"))
        await push(metadata)
    assert server.execute("SELECT version_num FROM alembic_version", "metadata") == [
        (revision(schema.VERSION),)
    ]


async def test_upgraded_tables_are_those_of_a_new_database(server: Postgres, url: str) -> None:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    async with open_postgres(url) as database:
        new = [server.execute(each, "metadata") for each in (columns, indexes)]

        def again(connection: Connection) -> None:
            schema.tables.drop_all(connection)
            upgrade(connection, 0)

        await database.do(again)
    assert [server.execute(each, "metadata") for each in (columns, indexes)] == new


async def test_a_later_database_is_refused(server: Postgres, url: str, tmp_path: Path) -> None:
    async with open_metadata(tmp_path, url):
        pass
    server.execute("UPDATE schema_version SET version = 99", "metadata")
    with pytest.raises(LocalError, match="version 99"):
        async with open_metadata(tmp_path, url):
            pass


async def test_what_one_front_end_writes_the_other_sees_at_once(
    metadata: SqlMetadata, second: SqlMetadata
) -> None:
    await push(metadata, IMAGE, "1")
    assert (await second.tag(APP, "1")) is not None
    assert await second.reaches(APP, digest("layer"))
    await second.remove_manifest(APP, IMAGE.digest)
    assert await metadata.tag(APP, "1") is None
    assert not await metadata.reaches(APP, IMAGE.digest)
    await push(second, Image("moved"), "1")
    await push(metadata, IMAGE, "1")
    found = await second.tag(APP, "1")
    assert found is not None
    assert found.digest == IMAGE.digest
    await metadata.drop_repository(APP)
    assert await second.describe(APP, digest("layer")) is None


async def test_front_ends_race_and_no_accepted_manifest_loses_a_blob(
    metadata: SqlMetadata, second: SqlMetadata
) -> None:
    """Pushes, mounts, removals and reviews on two front ends; then all that was accepted has its bytes."""
    both = (metadata, second)
    stored: set[Digest] = set()
    kept: dict[tuple[int, int], Image] = {}
    done = trio.Event()

    async def add(at: SqlMetadata, content: str) -> None:
        while True:
            stored.add(digest(content))
            added = await at.add_blob(APP, blob(content), lease=T0)
            if added and digest(content) in stored:
                return
            await trio.lowlevel.checkpoint()

    async def pusher(number: int) -> None:
        at = both[number % 2]
        for turn in range(12):
            image = Image(
                f"image {number} {turn}", layers=(f"layer {turn % 3}",), config=f"config {turn % 2}"
            )
            while True:  # the lease is over at once: only the transaction protects what is pushed
                for content in (image.config, *image.layers, image.name):
                    await add(at, content)
                if await at.put_manifest(APP, image.pushed(f"{number}"), now=T0) == Accepted():
                    stored.add(image.digest)  # its row may be a new one, after a review
                    break
            kept[number, turn] = image
            if turn % 2:
                assert await at.remove_manifest(APP, image.digest) is not None
                del kept[number, turn]

    async def collector(at: SqlMetadata) -> None:
        while not done.is_set():
            for each in await at.due(LEASE, 50):
                if await at.claim(each, LEASE) is not None:
                    stored.discard(each)
                    await at.collected(each)

    async with trio.open_nursery() as nursery:
        for at in both:
            nursery.start_soon(collector, at)
        async with trio.open_nursery() as pushers:
            for number in range(6):
                pushers.start_soon(pusher, number)
        done.set()
    while await metadata.due(LEASE, 1):
        stored -= await collect(metadata, LEASE)
    wanted = {child.digest for image in kept.values() for child in image.manifest.children}
    wanted |= {image.digest for image in kept.values()}
    assert stored == wanted
    for image in kept.values():
        for content in (image.name, image.config, *image.layers):
            assert await second.reaches(APP, digest(content))


async def test_shared_content_has_what_rows_say(metadata: SqlMetadata, second: SqlMetadata) -> None:
    """Both push, delete late, and take what is on its way for orphans: no row without its object."""
    objects: set[str] = set()
    done = trio.Event()
    numbers = itertools.count()
    refused = 0

    async def pusher(at: SqlMetadata, number: int) -> None:
        nonlocal refused
        for turn in range(25):
            content = f"layer {(number + turn) % 3}"
            while True:
                known = await at.place(digest(content))
                if known:
                    place = Place(known, new=False)
                else:
                    place = Place(f"key {next(numbers)}")
                    await at.intend(place.key, T0)
                    objects.add(place.key)
                if await at.add_blob(APP, blob(content), lease=T0, place=place):
                    break
                refused += 1
            if place.new and await at.place(digest(content)) != place.key:
                objects.discard(place.key)

    async def collector(at: SqlMetadata) -> None:
        while not done.is_set():
            for each in await at.due(LEASE, 50):
                claimed = await at.claim(each, LEASE)
                if claimed is not None:
                    for _ in range(20):  # the other one pushes, collects, pushes again
                        await trio.lowlevel.checkpoint()
                    objects.discard(claimed.key)
                    await at.collected(each, claimed.key)
            await trio.lowlevel.checkpoint()

    async def reaper(at: SqlMetadata) -> None:
        while not done.is_set():
            for key in await at.doomed(await at.intents(LEASE, 50), LEASE):
                objects.discard(key)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for at in (metadata, second):
            nursery.start_soon(collector, at)
            nursery.start_soon(reaper, at)
        async with trio.open_nursery() as pushers:
            for number in range(6):
                pushers.start_soon(pusher, (metadata, second)[number % 2], number)
        done.set()
    assert refused
    for each in await metadata.places(100):
        assert each.key in objects


async def test_one_of_two_different_images_gets_an_immutable_tag(
    metadata: SqlMetadata, second: SqlMetadata
) -> None:
    fixed = frozenset({"1"})
    for turn in range(10):
        repository = hosting_suite.Repository(APP.registry, f"app{turn}")
        answers: list[Accepted] = []

        async def put(
            at: SqlMetadata, image: Image, target: hosting_suite.Repository, answers: list[Accepted]
        ) -> None:
            await at.add_blob(target, blob("layer"), lease=LEASE)
            await at.add_blob(target, blob("config"), lease=LEASE)
            answers.append(await at.put_manifest(target, image.pushed("1", immutable=fixed), now=T0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, metadata, IMAGE, repository, answers)
            nursery.start_soon(put, second, Image("another"), repository, answers)
        assert sorted(answers, key=str) == sorted([Accepted(), Accepted(conflicts=("1",))], key=str)


async def test_a_blob_is_removed_or_referred_to_and_never_both(
    metadata: SqlMetadata, second: SqlMetadata
) -> None:
    await metadata.add_blob(APP, blob("config"), lease=LEASE)
    for turn in range(20):
        image = Image(f"image {turn}", layers=(f"layer {turn}",))
        await metadata.add_blob(APP, blob(f"layer {turn}"), lease=LEASE)
        said: dict[str, object] = {}

        async def put(image: Image, said: dict[str, object]) -> None:
            said["put"] = await metadata.put_manifest(APP, image.pushed(), now=T0)

        async def remove(layer: Digest, said: dict[str, object]) -> None:
            said["removed"] = await second.remove_blob(APP, layer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, image, said)
            nursery.start_soon(remove, digest(f"layer {turn}"), said)
        assert (said["put"] == Accepted()) is not said["removed"]


async def test_a_repository_dropped_under_pushes(metadata: SqlMetadata, second: SqlMetadata) -> None:
    async def pusher(number: int) -> None:
        for turn in range(10):
            await metadata.add_blob(APP, blob(f"{number} {turn}"), lease=LEASE)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(pusher, number)
        for _ in range(10):
            await second.drop_repository(APP)
    await second.drop_repository(APP)
    assert len(await collect(second, T0)) == 40


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition that is asked of the server holds."""
    with trio.fail_after(5):
        while not await condition():
            await trio.lowlevel.checkpoint()


async def test_one_front_end_collects_until_it_is_gone(
    server: Postgres, metadata: SqlMetadata, url: str, tmp_path: Path
) -> None:
    async with open_metadata(tmp_path, url) as first:
        assert await first.collects()
        assert await first.collects()
        assert not await metadata.collects()
    # The server lets the lock go when it has noticed that the session ended.
    await eventually(metadata.collects)
    async with open_metadata(tmp_path, url) as third:
        assert not await third.collects()
        holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        assert server.execute(holder, "metadata") == [(True,)]
        await eventually(third.collects)
        assert not await metadata.collects()


async def test_options_of_the_url_are_kept(url: str) -> None:
    async with open_postgres(f"{url}?options=-c%20statement_timeout%3D7s") as database:
        for setting, wanted in (("statement_timeout", "7s"), ("lock_timeout", "20s")):
            shown = f"SHOW {setting}"
            assert await database.do(lambda c, shown=shown: c.exec_driver_sql(shown).scalar()) == wanted  # type: ignore[misc]


async def test_more_at_once_than_there_are_connections(metadata: SqlMetadata) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(CONNECTIONS * 5):
            nursery.start_soon(push, metadata, Image(f"{number}", layers=(f"{number}",)), f"{number}")
    assert len(await metadata.tags(APP, 100)) == CONNECTIONS * 5


async def test_a_server_that_comes_back(server: Postgres, metadata: SqlMetadata) -> None:
    await push(metadata, IMAGE, "1")
    server.stop()
    with pytest.raises(LocalError, match="server runs"):
        await metadata.tag(APP, "1")
    server.start()
    assert await metadata.tag(APP, "1") is not None
