"""A crash, or a client that is cancelled, before every step of pushes, deletes and a collection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest
import trio
import trio.from_thread

from p2p.content.api import ContentContext
from p2p.content.directory import open_directory
from p2p.core.oci.digest import Digest
from p2p.registry.sharing import OWNER
from tests.support.push_crash import Crash, Steps, opened
from tests.support.push_rig import EMPTY, NAME, Push
from tests.support.registry_rig import read

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

Act = Callable[[Push], "Awaitable[None]"]
Opened = Callable[..., AbstractAsyncContextManager[Push]]

OTHER = "team/other"
LAYER_DATA = bytes(range(251)) * 300
LAYER = Digest.of(LAYER_DATA)
CONFIG = Digest.of(EMPTY)
DAY = timedelta(days=1)


async def chunks(push: Push) -> None:
    location = await push.begin()
    assert (await push("PATCH", location, "", LAYER_DATA[:5000])).status == 202
    assert (await push("PATCH", location, "", LAYER_DATA[5000:])).status == 202
    assert (await push("PUT", location, f"digest={LAYER}")).status == 201


async def whole(name: str, push: Push) -> None:
    await push.blob(EMPTY, name)


async def mount(push: Push) -> None:
    response = await push("POST", f"/v2/{OTHER}/blobs/uploads/", f"mount={LAYER}&from={NAME}")
    assert response.status == 201


async def manifest(name: str, push: Push) -> None:
    response = await push("PUT", f"/v2/{name}/manifests/1", "", MANIFEST, content_type=TYPE)
    assert response.status == 201


async def delete(name: str, push: Push) -> None:
    assert (await push("DELETE", f"/v2/{name}/manifests/{TOP}")).status == 202


async def collect(push: Push) -> None:
    await push.hosted.intake.collect(datetime.now(UTC) + 2 * DAY)


TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = (
    f'{{"schemaVersion":2,"mediaType":"{TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",'
    f'"digest":"{CONFIG}","size":{len(EMPTY)}}},"layers":[{{"mediaType":'
    f'"application/vnd.oci.image.layer.v1.tar","digest":"{LAYER}","size":{len(LAYER_DATA)}}}]}}'
).encode()
TOP = Digest.of(MANIFEST)


def paths(name: str) -> tuple[str, str, str, str]:
    prefix = f"/v2/{name}"
    return (
        f"{prefix}/blobs/{LAYER}",
        f"{prefix}/blobs/{CONFIG}",
        f"{prefix}/manifests/{TOP}",
        f"{prefix}/manifests/1",
    )


ONE, TWO = paths(NAME), paths(OTHER)
BODIES = dict(zip((*ONE, *TWO), (LAYER_DATA, EMPTY, MANIFEST, MANIFEST) * 2, strict=True))

# Each with what is to be seen when it is done.
COURSE: tuple[tuple[Act, set[str]], ...] = (
    (chunks, {ONE[0]}),
    (partial(whole, NAME), {*ONE[:2]}),
    (partial(manifest, NAME), {*ONE}),
    (mount, {*ONE, TWO[0]}),
    (partial(whole, OTHER), {*ONE, *TWO[:2]}),
    (partial(manifest, OTHER), {*ONE, *TWO}),
    (partial(delete, NAME), {*ONE[:2], *TWO}),
    (collect, {*TWO}),
    (partial(delete, OTHER), {*TWO[:2]}),
    (collect, set()),
)


async def run(push: Push, done: list[int]) -> None:
    for number, (act, _) in enumerate(COURSE):
        await act(push)
        done.append(number)


async def check(push: Push, done: int) -> None:
    """What was acknowledged is there, what was deleted is not, and of the one under way all or nothing."""
    before = COURSE[done - 1][1] if done else set()
    after = COURSE[done][1] if done < len(COURSE) else before
    seen = set()
    for path, body in BODIES.items():
        response = await push("GET", path)
        assert response.status in (200, 404)
        if response.status == 200:
            assert await read(response) == body
            seen.add(path)
    assert before & after <= seen <= before | after
    # A manifest never without what it refers to.
    for one in (ONE, TWO):
        assert not seen & {*one[2:]} or {*one[:3]} <= seen
    await check_keeping(push)


async def check_keeping(push: Push) -> None:
    """What is kept is owned, what is owned is kept."""
    owned = set(await push.hosting.owned(100))
    pinned = {blob.digest for blob in push.store.blobs() if blob.pinned}
    assert await push.hosting.deleting() == []
    if push.content is None:
        assert pinned == owned
        return
    assert pinned == set()
    assert push.sharing is not None
    assert await push.sharing.missing() == []
    push.sharing._now = lambda: datetime.now(UTC) + 9 * DAY
    await push.sharing.reconcile()
    objects = {one.key for one in await push.content.keys() if not one.key.startswith(OWNER)}
    assert objects == {row.key for row in await push.hosting.places(100)}
    assert await push.hosting.intents(datetime.now(UTC) + 9 * DAY, 100) == []


async def check_going_on(push: Push, directory: Path) -> None:
    """Nothing is in the way of the same pushes, and all of it can go again."""
    for name in (NAME, OTHER):
        await push.blob(LAYER_DATA, name)
        await whole(name, push)
        await manifest(name, push)
    for path, body in BODIES.items():
        assert await push.pull(path) == (200, body)
    for name in (NAME, OTHER):
        await delete(name, push)
    await push.hosted.intake.collect(datetime.now(UTC) + 3 * DAY)
    assert await push.hosting.owned(100) == []
    await check_keeping(push)
    assert not files_of(directory, "*.pin")
    sessions = push.hosted._sessions
    sessions._now = lambda: datetime.now(UTC) + 3 * DAY
    await sessions.expire()
    assert push.store.uploads.sessions() == []
    assert not files_of(directory / "store/uploads", "*")


def files_of(directory: Path, pattern: str) -> list[Path]:
    return [path for path in directory.rglob(pattern) if path.is_file()]


@asynccontextmanager
async def shared(directory: Path, steps: Steps | None = None, *, store: str = "store") -> AsyncIterator[Push]:
    """One of the front ends that have one database and one directory of content."""
    there = directory / "shared"
    there.mkdir(parents=True, exist_ok=True)
    async with (
        open_directory(ContentContext(f"file://{there}")) as content,
        opened(directory, steps, content=content, store=store) as push,
    ):
        yield push


async def steps_of(directory: Path, opening: Opened) -> list[str]:
    steps = Steps()
    async with opening(directory, steps) as push:
        steps.armed = True
        await run(push, [])
        steps.armed = False
    return steps.names


def die() -> None:
    raise Crash


async def crash(directory: Path, at: int, opening: Opened = opened) -> int:
    """Run the course until it dies before step ``at``; gives how much of it was acknowledged."""
    steps = Steps(at, die)
    done: list[int] = []
    try:
        async with opening(directory, steps) as push:
            steps.armed = True
            await run(push, done)
    except Crash:
        return len(done)
    raise AssertionError(at)


async def each_step(
    directory: Path,
    attempt: Callable[[Path, int], Awaitable[None]],
    without: frozenset[str] = frozenset(),
    opening: Opened = opened,
) -> None:
    """Try every step, some at once: most of the time goes into waiting for the database's file."""
    names = await steps_of(directory / "all", opening)
    assert {"create", "write", "rename", "sync_directory", "unlink", "commit", "query"} <= set(names)
    room = trio.CapacityLimiter(8)

    async def one(at: int) -> None:
        async with room:
            await attempt(directory / str(at), at)

    async with trio.open_nursery() as nursery:
        for at, name in enumerate(names, 1):
            if name not in without:
                nursery.start_soon(one, at)


@pytest.mark.slow
async def test_before_every_step(tmp_path: Path) -> None:
    async def attempt(directory: Path, at: int) -> None:
        done = await crash(directory, at)
        async with opened(directory) as push:
            await check(push, done)
            await check_going_on(push, directory)

    # Before a read it is as before what comes next, and so it is before a sync: a process dies, not a disk.
    await each_step(tmp_path, attempt, frozenset({"query", "sync", "sync_directory"}))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_another_front_end_goes_on_where_one_dies_before_every_step(tmp_path: Path) -> None:
    """Of what the one had nothing is left but what is shared; then it comes back, empty, and has all."""

    async def attempt(directory: Path, at: int) -> None:
        done = await crash(directory, at, shared)
        async with shared(directory, store="other") as push:
            await check(push, done)
            await check_going_on(push, directory / "other")
            await whole(NAME, push)
        rmtree(directory / "store")
        async with shared(directory) as push:
            assert await push.pull(ONE[1]) == (200, EMPTY)

    without = frozenset({"query", "sync", "sync_directory", "create", "write", "rename", "unlink"})
    await each_step(tmp_path, attempt, without, shared)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_who_waits_for_shared_content_is_cancelled(tmp_path: Path) -> None:
    async def attempt(directory: Path, at: int) -> None:
        await cancelled(directory, at, shared)

    without = frozenset({"query", "sync", "sync_directory", "create", "write", "rename", "unlink"})
    await each_step(tmp_path, attempt, without, shared)


@pytest.mark.slow
async def test_who_waits_is_cancelled_before_every_step(tmp_path: Path) -> None:
    async def attempt(directory: Path, at: int) -> None:
        await cancelled(directory, at, opened)

    await each_step(tmp_path, attempt)


async def cancelled(directory: Path, at: int, opening: Opened) -> None:
    done: list[int] = []
    scope = trio.CancelScope()
    steps = Steps(at, partial(cancel, scope), lasting=False)
    async with opening(directory, steps) as push:
        steps.armed = True
        with scope:
            await run(push, done)
        steps.armed = False
        # A collection that was cancelled goes on with the next one.
        if len(done) < len(COURSE) and COURSE[len(done)][0] is collect:
            await push.hosted.intake.collect()
        await check(push, len(done))
        await check_going_on(push, directory)


def cancel(scope: trio.CancelScope) -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        trio.from_thread.run_sync(scope.cancel)
    else:
        scope.cancel()
