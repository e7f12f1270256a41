"""How bytes become owned, and how they go: with crashes between any two steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.config import StoreSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.errors import StoreError
from p2p.metadata.hosting import Placed
from p2p.registry.intake import CollectionStatistics, Intake
from tests.support.http_rig import until
from tests.support.push_rig import APP, NAME, Push
from tests.support.store_rig import MIB

DATA = b"some blob"
DIGEST = Digest.of(DATA)
DAY = 86400.0


async def test_nothing_refers_to_it_and_its_time_is_over() -> None:
    push = Push()
    await push.blob(DATA)
    assert await push.later(DAY / 2) == []
    assert await push.later(DAY * 1.1) == [DIGEST]
    assert push.store.find(DIGEST) is None
    assert (await push("HEAD", f"/v2/{NAME}/blobs/{DIGEST}")).status == 404
    assert await push.later(DAY * 3) == []


async def test_what_a_manifest_refers_to_stays_until_it_goes() -> None:
    push = Push()
    digest = await push.image("1", [DATA])
    assert await push.later(DAY * 9) == []
    await push("DELETE", f"/v2/{NAME}/manifests/{digest}")
    gone = await push.later(DAY * 9)
    assert {DIGEST, digest} <= set(gone)
    assert push.store.find(DIGEST) is None


async def test_asked_for_and_told_that_it_exists_it_stays_another_while() -> None:
    push = Push()
    await push.blob(DATA)
    before = datetime.now(UTC)
    assert (await push("HEAD", f"/v2/{NAME}/blobs/{DIGEST}")).status == 200
    assert await push.hosted.intake.collect(before + timedelta(seconds=DAY)) == []


async def test_pushed_again_while_it_waits_for_its_review() -> None:
    push = Push()
    for _ in range(3):
        await push.blob(DATA)
        assert (await push("DELETE", f"/v2/{NAME}/blobs/{DIGEST}")).status == 202
    await push.blob(DATA)
    assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)
    assert await push.later(DAY / 2) == []


async def test_a_push_waits_for_a_collection_of_the_same_bytes() -> None:
    push = Push()
    await push.blob(DATA)
    async with trio.open_nursery() as nursery, push.hosted.intake.alone(APP, DIGEST):
        nursery.start_soon(push.blob, DATA)
        await wait_all_tasks_blocked()
        far = datetime.now(UTC) + timedelta(seconds=2 * DAY)
        assert await push.hosting.claim(DIGEST, far) == Placed(DIGEST, len(DATA))
        await push.hosted.intake._delete(Placed(DIGEST, len(DATA)))
    assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)


async def test_a_crash_between_claim_and_delete() -> None:
    push = Push()
    await push.blob(DATA)
    await push.hosting.claim(DIGEST, datetime.now(UTC) + timedelta(seconds=2 * DAY))
    assert await push.hosted.intake.reconcile() == 1
    assert push.store.find(DIGEST) is None
    await push.blob(DATA)
    assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)


async def test_a_crash_between_row_and_pin() -> None:
    push = Push()
    await push.blob(DATA)
    await push.store.unpin(DIGEST)
    assert await push.hosted.intake.reconcile() == 1
    stored = push.store.find(DIGEST)
    assert stored is not None
    assert stored.pinned


async def test_another_front_end_that_never_ends_its_collection(autojump_clock: object) -> None:
    push = Push()
    await push.blob(DATA)
    await push.hosting.claim(DIGEST, datetime.now(UTC) + timedelta(seconds=2 * DAY))
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={DIGEST}", DATA)
    assert response.status == 503


async def test_the_collector_runs_by_itself() -> None:
    push = Push()
    await push.blob(DATA)
    now = datetime.now(UTC) + timedelta(seconds=2 * DAY)
    intake = Intake(
        content=push.store, hosting=push.hosting, grace=1.0, announce=lambda _: None, now=lambda: now
    )
    assert (await intake.garbage()).overdue == 1
    async with trio.open_nursery() as nursery:
        await nursery.start(intake.run, 0.01)
        await until(lambda: push.store.find(DIGEST) is None)
        nursery.cancel_scope.cancel()
    assert (await intake.garbage()).queued == 0


async def test_lost_as_it_came_in() -> None:
    push = Push()
    upload = await push.store.uploads.begin("it")
    await upload.write(DATA)
    pin = push.store.pin

    async def too_late(digest: Digest) -> None:
        await push.store.remove(digest)
        await pin(digest)

    push.store.pin = too_late  # type: ignore[method-assign]
    with pytest.raises(RegistryError, match="was lost"):
        await push.hosted.intake.take(APP, upload, DIGEST, "application/octet-stream")
    await upload.close()


async def test_a_preview_changes_nothing() -> None:
    push = Push()
    await push.blob(DATA)
    later = datetime.now(UTC) + timedelta(seconds=2 * DAY)
    before = await push.hosting.garbage(later)
    told: list[tuple[Digest, int]] = []
    assert await push.hosted.intake.preview(early=True) == [], "a lease is on it"
    for _ in range(2):
        assert await push.hosted.intake.preview(later, told=lambda *one: told.append(one)) == [DIGEST]
    assert told == [(DIGEST, len(DATA))] * 2
    assert await push.hosting.garbage(later) == before
    assert push.store.find(DIGEST) is not None
    assert push.hosted.intake.statistics().collected == 0


async def test_early_reviews_what_is_queued_for_later_and_leases_hold() -> None:
    push = Push()
    later = datetime.now(UTC) + timedelta(seconds=2 * DAY)
    await push.blob(DATA)
    leased = await push.blob(b"leased")
    # As where the clock was ahead when it was queued.
    push.hosting._queue[DIGEST] = later
    push.hosting._leases.clear()
    await push.hosting.hold(APP, leased, lease=later)
    assert await push.hosted.intake.collect() == []
    assert await push.hosted.intake.preview() == []
    assert await push.hosted.intake.preview(early=True) == [DIGEST]
    assert await push.hosted.intake.collect(early=True) == [DIGEST]
    assert push.store.find(leased) is not None


async def test_what_the_disk_refused_to_delete_goes_with_the_next_round() -> None:
    push = Push()
    await push.blob(DATA)
    remove = push.store.remove

    async def refuse(digest: Digest) -> None:
        raise StoreError(str(digest), "input/output error")

    push.store.remove = refuse  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await push.later(2 * DAY)
    push.store.remove = remove  # type: ignore[method-assign]
    assert await push.later(0) == [DIGEST]
    assert push.store.find(DIGEST) is None
    assert await push.hosting.deleting() == []
    assert push.hosted.intake.statistics() == CollectionStatistics(collected=1, bytes=len(DATA))


async def test_a_cancelled_collection_leaves_nothing_half_done() -> None:
    push = Push()
    digests = {await push.blob(DATA + bytes([number])) for number in range(3)}
    scope = trio.CancelScope()
    with scope:
        at = datetime.now(UTC) + timedelta(seconds=2 * DAY)
        await push.hosted.intake.collect(at, told=lambda *_: scope.cancel())
    assert scope.cancelled_caught
    assert await push.hosting.deleting() == []
    assert sum(push.store.find(digest) is None for digest in digests) == 1
    assert push.hosted.intake.statistics().collected == 1


async def test_figures_of_the_collection() -> None:
    push = Push()
    intake = push.hosted.intake
    assert intake.statistics() == CollectionStatistics()
    await push.blob(DATA)
    await intake.garbage()
    assert intake.statistics() == CollectionStatistics(queued=1)
    assert await intake.collects()
    await push.later(2 * DAY)
    await intake.garbage()
    assert intake.statistics() == CollectionStatistics(collected=1, bytes=len(DATA))


async def test_what_a_layout_has_too_stays() -> None:
    push = Push()
    await push.blob(DATA)
    intake = Intake(
        content=push.store,
        hosting=push.hosting,
        grace=DAY,
        announce=lambda _: None,
        kept=lambda digest: digest == DIGEST,
    )
    assert await intake.collect(datetime.now(UTC) + timedelta(seconds=2 * DAY)) == [DIGEST]
    stored = push.store.find(DIGEST)
    assert stored is not None
    assert stored.pinned
    assert (await push("HEAD", f"/v2/{NAME}/blobs/{DIGEST}")).status == 404


async def test_a_delete_that_failed_is_done_by_the_next_collection() -> None:
    push = Push()
    await push.blob(DATA)
    remove = push.store.remove

    async def fail(digest: Digest) -> None:
        raise StoreError(str(digest), "can't be deleted", "Wait")

    push.store.remove = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await push.later(2 * DAY)
    push.store.remove = remove  # type: ignore[method-assign]
    await push.later(2 * DAY)
    assert push.store.find(DIGEST) is None
    with trio.fail_after(1):
        await push.blob(DATA)
    assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)


async def test_what_is_pushed_again_before_a_failed_delete_is_done_stays() -> None:
    push = Push()
    await push.blob(DATA)
    far = datetime.now(UTC) + timedelta(seconds=2 * DAY)
    async with trio.open_nursery() as nursery, push.hosted.intake.alone(APP, DIGEST):
        assert await push.hosting.claim(DIGEST, far) == Placed(DIGEST, len(DATA))
        nursery.start_soon(push.blob, DATA)
        await wait_all_tasks_blocked()
        nursery.start_soon(push.hosted.intake.collect)  # sees it deleted, and has to wait too
        await wait_all_tasks_blocked()
        await push.hosted.intake._delete(Placed(DIGEST, len(DATA)))
    assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)


@pytest.mark.parametrize("step", ["add_blob", "put_manifest"])
async def test_nothing_is_evicted_before_it_is_kept(step: str) -> None:
    """Between the bytes and their row others come that want the room."""
    push = Push()
    push.store._settings = StoreSettings(quota=3 * MIB)
    write = getattr(push.hosting, step)

    async def meanwhile(*args: object, **more: object) -> object:
        for number in range(4):
            await cached(push, bytes([number]) * MIB)
        return await write(*args, **more)

    if step == "add_blob":
        setattr(push.hosting, step, meanwhile)
        await push.blob(DATA)
        assert await push.pull(f"/v2/{NAME}/blobs/{DIGEST}") == (200, DATA)
    else:
        document = await push.document([b"layer"])
        setattr(push.hosting, step, meanwhile)
        assert (await push.manifest(document, "1")).status == 201
        assert (await push.pull(f"/v2/{NAME}/manifests/1"))[0] == 200


async def cached(push: Push, data: bytes) -> None:
    """Put bytes into the store that are nobody's."""
    upload = await push.store.uploads.begin(f"cache-{data[0]}")
    await upload.write(data)
    await upload.finish(Digest.of(data))
