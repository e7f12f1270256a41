"""Blobs of hosted repositories in the content that all front ends share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.content.memory import MemoryContent
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.errors import ContentError, ContentRefusedError, LocalError
from p2p.metadata.hosting import Placed
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.registry.sharing import LEAST_AGE, OWNER
from tests.support.content_suite import put
from tests.support.push_crash import opened
from tests.support.push_rig import APP, NAME, Push
from tests.support.registry_rig import header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA = b"layer" * 100
DIGEST = Digest.of(DATA)
BLOB = f"/v2/{NAME}/blobs/{DIGEST}"
DAY = 86400.0


def two(content: MemoryContent | None = None) -> tuple[Push, Push, MemoryContent]:
    """Two front ends on one database and one content."""
    content = content or MemoryContent()
    hosting = MemoryHosting()
    return Push(hosting=hosting, content=content), Push(hosting=hosting, content=content), content


def objects(content: MemoryContent) -> list[bytes]:
    return [data for key, (data, _) in content.objects.items() if not key.startswith(OWNER)]


def later(push: Push, seconds: float) -> None:
    assert push.sharing is not None
    push.sharing._now = lambda: datetime.now(UTC) + timedelta(seconds=seconds)


async def order(push: Push) -> None:
    assert push.sharing is not None
    await push.sharing.reconcile()


async def test_what_is_pushed_at_one_is_pulled_at_the_other() -> None:
    one, other, content = two()
    top = await one.image("1", (DATA,))
    assert await other.pull(BLOB) == (200, DATA)
    status, manifest = await other.pull(f"/v2/{NAME}/manifests/1")
    assert status == 200
    assert Digest.of(manifest) == top
    assert sorted(map(len, objects(content))) == sorted((len(DATA), 2, len(manifest)))


async def test_the_store_is_a_cache() -> None:
    one, other, _ = two()
    await one.image("1", (DATA,))
    assert not any(blob.pinned for blob in one.store.blobs())
    for blob in list(one.store.blobs()):
        await one.store.remove(blob.digest)
    assert await one.pull(BLOB) == (200, DATA)
    head = await other("HEAD", BLOB)
    assert (head.status, header(head, "docker-content-digest")) == (200, str(DIGEST))


async def test_the_same_bytes_are_put_once() -> None:
    one, other, content = two()
    await one.blob(DATA)
    await other.blob(DATA, "team/other")
    await one.blob(DATA)
    assert objects(content) == [DATA]
    assert content.calls["put"] == 2  # and the owner's marker


async def test_two_put_the_same_at_once_and_one_object_stays() -> None:
    one, other, content = two()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.blob, DATA)
        nursery.start_soon(other.blob, DATA)
    assert objects(content) == [DATA]
    place = await one.hosting.place(DIGEST)
    assert place in content.objects


async def test_mounts_find_what_lies_elsewhere() -> None:
    one, other, _ = two()
    await one.blob(DATA)
    answer = await other("POST", "/v2/team/other/blobs/uploads/", f"mount={DIGEST}&from={NAME}")
    assert answer.status == 201
    assert await other.pull(f"/v2/team/other/blobs/{DIGEST}") == (200, DATA)


async def test_a_collection_deletes_the_object() -> None:
    one, other, content = two()
    await one.blob(DATA)
    assert await other.later(2 * DAY) == [DIGEST]
    assert objects(content) == []
    assert other.hosted.intake.statistics().bytes == len(DATA)
    assert (await one.pull(BLOB))[0] == 404


async def test_a_deletion_that_fails_goes_on_later() -> None:
    one, other, content = two()
    await one.blob(DATA)
    content.failure = ContentError(content.name, "it is down")
    with pytest.raises(ContentError):
        await one.later(2 * DAY)
    assert [row.digest for row in await one.hosting.deleting()] == [DIGEST]
    content.failure = None
    assert await other.later(2 * DAY) == [DIGEST]
    assert objects(content) == []


class StoppedContent(MemoryContent):
    """Who removes something is stopped before it is done, until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = trio.Event()
        self.go_on = trio.Event()

    async def remove(self, key: str) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            await self.go_on.wait()
        await super().remove(key)


async def test_a_deleter_that_wakes_up_late_hits_nobody() -> None:
    """One claims and is stopped; the other collects, and somebody pushes again; then the first goes on."""
    content = StoppedContent()
    one, other, _ = two(content)
    await one.blob(DATA)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.later, 2 * DAY)
        await content.stopped.wait()
        (claimed,) = await other.hosting.deleting()
        assert await other.later(0.0) == [DIGEST]
        assert claimed.key not in content.objects
        await other.image("1", (DATA,))
        content.go_on.set()
    assert await one.hosting.deleting() == []
    assert await one.hosting.place(DIGEST) not in (None, "", claimed.key)
    for push in (one, other):
        assert await push.pull(BLOB) == (200, DATA)
    assert DATA in objects(content)


async def test_a_push_does_not_wait_for_a_deletion_elsewhere() -> None:
    content = StoppedContent()
    one, other, _ = two(content)
    await one.blob(DATA)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.later, 2 * DAY)
        await content.stopped.wait()
        await other.image("1", (DATA,))
        content.go_on.set()
    assert await one.pull(BLOB) == (200, DATA)
    assert (await one.pull(f"/v2/{NAME}/manifests/1"))[0] == 200


async def test_a_manifest_takes_over_what_is_being_deleted() -> None:
    content = StoppedContent()
    one, other, _ = two(content)
    document = await one.document((DATA,))
    assert (await one.manifest(document, "1")).status == 201
    top = (await one.hosting.tag(APP, "1")).digest  # type: ignore[union-attr]
    await one("DELETE", f"/v2/{NAME}/manifests/{top}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.hosted.intake.collect)
        await content.stopped.wait()
        assert (await other.manifest(document, "2")).status == 201
        content.go_on.set()
    assert (await other.pull(f"/v2/{NAME}/manifests/2"))[0] == 200
    assert await one.hosting.deleting() == []


async def test_a_manifest_that_is_refused_leaves_no_object() -> None:
    one, _, content = two()
    document = await one.document((DATA,))
    document["layers"][0]["digest"] = str(Digest.of(b"missing"))
    before = dict(content.objects)
    assert (await one.manifest(document, "1")).status == 404
    assert content.objects == before
    assert await one.hosting.intents(datetime.now(UTC), 9) == []


async def test_a_push_fails_where_the_content_does() -> None:
    one, _, content = two()
    await one.blob(b"other")
    content.failure = ContentError(content.name, "it is down", retry_after=3.0)
    answer = await one("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={DIGEST}", DATA)
    assert answer.status == 503
    assert header(answer, "retry-after") == "3"
    assert await one.hosting.place(DIGEST) is None
    content.failure = None
    await one.blob(DATA)


async def test_a_pull_fails_clearly_where_the_content_does() -> None:
    one, other, content = two()
    await one.blob(DATA)
    content.failure = ContentError(content.name, "it is down", retry_after=3.0)
    answer = await other("GET", BLOB)
    assert (answer.status, header(answer, "retry-after")) == (503, "3")
    assert await one.pull(BLOB) == (200, DATA)  # from its own cache


def spoil(directory: Path) -> None:
    (path,) = directory.rglob(DIGEST.hex)
    path.chmod(0o600)
    path.write_bytes(DATA[::-1])


async def test_what_went_bad_here_is_mended_from_there(tmp_path: Path) -> None:
    async with opened(tmp_path, content=MemoryContent()) as push:
        await push.image("1", (DATA,))
        spoil(tmp_path)
        assert not await push.store.scrub_one(DIGEST)
        assert push.store.find(DIGEST) is None
        assert await push.pull(BLOB) == (200, DATA)


# Orphans


async def test_orphans_go_when_they_are_old(caplog: pytest.LogCaptureFixture) -> None:
    one, _, content = two()
    await one.blob(DATA)
    await put(content, "sha256/aa/orphan", b"orphan")
    await put(content, "tmp/left", b"part")
    await order(one)
    assert len(objects(content)) == 3
    later(one, 2 * DAY)
    await order(one)
    assert objects(content) == [DATA]
    assert one.sharing is not None
    assert (one.sharing.statistics.orphans, one.sharing.statistics.orphan_bytes) == (2, 10)


async def test_what_is_on_its_way_is_no_orphan() -> None:
    """A put that was noted an hour ago counts still; when its note is taken for old, it counts no more."""
    one, other, content = two()
    assert one.sharing is not None
    await one.sharing.check()
    upload = await one.store.uploads.begin("x")
    await upload.write(DATA)
    blob = await upload.finish(DIGEST)
    place = await one.sharing.place(blob)
    later(other, LEAST_AGE.total_seconds())
    await order(other)
    assert objects(content) == [DATA]
    later(other, 2 * DAY)
    await order(other)
    assert objects(content) == []
    # Who put it comes to write the row: it is refused, and puts it again.
    lease = datetime.now(UTC) + timedelta(days=1)
    described = Descriptor("application/octet-stream", DIGEST, len(DATA))
    assert not await one.hosting.add_blob(APP, described, lease=lease, place=place)
    await one.blob(DATA)
    assert await other.pull(BLOB) == (200, DATA)


async def test_a_put_that_was_taken_for_an_orphan_is_done_again() -> None:
    one, other, content = two()
    later(other, 2 * DAY)
    puts: list[str] = []
    real = content.put

    async def slow(key: str, fd: int, size: int) -> None:
        await real(key, fd, size)
        if size:
            puts.append(key)
        if len(puts) == 1:
            await order(other)  # takes it for an orphan, in the middle of the push

    content.put = slow  # type: ignore[method-assign]
    await one.blob(DATA)
    assert len(puts) == 2
    assert objects(content) == [DATA]
    assert await other.pull(BLOB) == (200, DATA)


async def test_notes_without_objects_go() -> None:
    one, _, content = two()
    await one.hosting.intend("sha256/aa/never", datetime.now(UTC))
    later(one, 2 * DAY)
    await order(one)
    assert await one.hosting.intents(datetime.now(UTC), 9) == []
    assert objects(content) == []


async def test_missing_objects_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, content = two()
    for number in range(5):
        await one.blob(bytes([number]))
    assert one.sharing is not None
    assert await one.sharing.missing() == []
    gone = Digest.of(b"\2")
    key = await one.hosting.place(gone)
    assert key
    del content.objects[key]
    assert await one.sharing.missing() == [Placed(gone, 1, key)]
    told: list[dict[str, object]] = []
    monkeypatch.setattr("p2p.registry.sharing.log.error", lambda _, **more: told.append(more))
    await order(one)
    assert told[0]["count"] == 1
    assert told[0]["first"] == [str(gone)]
    assert one.sharing.statistics.missing == 1
    status, body = await pull_uncached(one, f"/v2/{NAME}/blobs/{gone}")
    assert status == 503
    assert b"missing" in body


async def pull_uncached(push: Push, path: str) -> tuple[int, bytes]:
    for blob in list(push.store.blobs()):
        await push.store.remove(blob.digest)
    return await push.pull(path)


# Whose it is


async def test_another_databases_content_is_refused() -> None:
    content = MemoryContent()
    one, other = Push(content=content), Push(content=content)
    await one.blob(DATA)
    assert other.sharing is not None
    with pytest.raises(ContentRefusedError, match=r"memory://content: it is the content of another database"):
        await other.sharing.check()
    answer = await other("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={DIGEST}", DATA)
    assert answer.status == 503
    later(other, 9 * DAY)
    with pytest.raises(ContentRefusedError):
        await order(other)
    assert objects(content) == [DATA]
    with pytest.raises(ContentRefusedError):
        await other.hosted.intake.reconcile()


async def test_an_empty_one_where_blobs_should_lie_is_refused() -> None:
    one, other, content = two()
    await one.blob(DATA)
    content.objects.clear()
    assert other.sharing is not None
    with pytest.raises(ContentRefusedError, match=r"it is empty.*Mount it"):
        await other.sharing.check()


async def test_one_that_is_down_at_the_start_does_not_keep_the_node_down() -> None:
    one, other, content = two()
    await one.blob(DATA)
    content.failure = ContentError(content.name, "it is down")
    await other.hosted.intake.reconcile()
    content.failure = None
    assert await other.pull(BLOB) == (200, DATA)


async def test_nor_does_a_deletion_that_waits_for_it() -> None:
    one, other, content = two()
    await one.blob(DATA)
    content.failure = ContentError(content.name, "it is down")
    with pytest.raises(ContentError):
        await one.later(2 * DAY)
    assert await other.hosted.intake.reconcile() == 0
    content.failure = None
    assert await other.hosted.intake.reconcile() == 1
    assert objects(content) == []


async def test_rows_with_a_place_need_a_content() -> None:
    one, _, _ = two()
    await one.blob(DATA)
    without = Push(hosting=one.hosting)
    with pytest.raises(LocalError, match=r"hosting.content is not set.*--content"):
        await without.hosted.intake.reconcile()


# Moving


def moving(push: Push) -> Callable[[], object]:
    assert push.sharing is not None
    intake = push.hosted.intake
    return partial(push.sharing.move, alone=intake._locks.holding, kept=lambda _: False)


async def test_what_lay_here_is_moved_there_and_is_a_cache_then() -> None:
    before = Push()
    top = await before.image("1", (DATA,))
    content = MemoryContent()
    one = Push(hosting=before.hosting, store=before.store, content=content)
    other = Push(hosting=before.hosting, content=content)
    await one.hosted.intake.reconcile()
    assert (await other.pull(BLOB))[0] == 503  # it is not there yet, and not unknown
    assert await moving(one)() == 3  # type: ignore[misc]
    assert await moving(one)() == 0  # type: ignore[misc]
    assert not any(blob.pinned for blob in one.store.blobs())
    assert await other.pull(BLOB) == (200, DATA)
    assert Digest.of((await other.pull(f"/v2/{NAME}/manifests/1"))[1]) == top
    assert await moving(other)() == 0  # type: ignore[misc]


async def test_moving_goes_on_where_it_stopped() -> None:
    before = Push()
    await before.image("1", (DATA,))
    content = MemoryContent()
    one = Push(hosting=before.hosting, store=before.store, content=content)
    assert one.sharing is not None
    await one.sharing.check()
    real, count = content.put, 0

    async def failing(key: str, fd: int, size: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise ContentError(content.name, "it is down")
        await real(key, fd, size)

    content.put = failing  # type: ignore[method-assign]
    with pytest.raises(ContentError):
        await moving(one)()  # type: ignore[misc]
    assert len(objects(content)) == 1
    assert sum(blob.pinned for blob in one.store.blobs()) == 2
    assert await moving(one)() == 2  # type: ignore[misc]


async def test_what_is_pushed_again_is_moved_by_that() -> None:
    before = Push()
    await before.blob(DATA)
    content = MemoryContent()
    other = Push(hosting=before.hosting, content=content)
    await other.blob(DATA)
    assert objects(content) == [DATA]
    one = Push(hosting=before.hosting, store=before.store, content=content)
    assert await moving(one)() == 0  # type: ignore[misc]


async def test_it_runs_beside_the_front_end(autojump_clock: trio.testing.MockClock) -> None:
    before = Push()
    await before.blob(DATA)
    content = MemoryContent()
    one = Push(hosting=before.hosting, store=before.store, content=content)
    assert one.sharing is not None
    later(one, 3 * DAY)
    async with trio.open_nursery() as nursery:
        content.failure = ContentError(content.name, "it is down")
        await nursery.start(one.hosted.run)
        await trio.sleep(one.settings.collect_interval * 1.5)
        assert objects(content) == []
        content.failure = None
        await trio.sleep(one.settings.collect_interval)
        assert objects(content) == [DATA]
        await put(content, "sha256/aa/orphan", b"orphan")
        await trio.sleep(DAY)
        assert objects(content) == [DATA]
        nursery.cancel_scope.cancel()
