"""Upload sessions: between requests, over restarts, and past their time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import StoreSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.errors import LocalError
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.registry.sessions import OPEN, Sessions
from p2p.store.disk import DiskStore
from p2p.store.memory import MemoryStore
from tests.support.http_rig import until
from tests.support.push_rig import APP
from tests.support.store_rig import HASHER

if TYPE_CHECKING:
    from pathlib import Path

OTHER = Repository(APP.registry, "team/other")


class Desk:
    """Sessions over a store on disk, that can be shut and opened again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records = MemoryHosting()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def open(self) -> Sessions:
        self.store = await DiskStore.load(
            self.directory, StoreSettings(minimum_free=0), hasher=HASHER, withdraw=lambda _: None
        )
        return Sessions(records=self.records, uploads=self.store.uploads, expiry=100.0, now=lambda: self.now)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def write(sessions: Sessions, session: str, data: bytes) -> int:
    async with sessions.using(APP, session) as upload:
        await upload.write(data)
        return upload.size


async def test_it_goes_on_after_a_restart(desk: Desk) -> None:
    sessions = await desk.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(sessions.run)
        session = await sessions.begin(APP, "sha256")
        assert await write(sessions, session, b"one") == 3
        nursery.cancel_scope.cancel()  # closes what is open
    desk.store.close()
    sessions = await desk.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(sessions.run)
        assert await write(sessions, session, b"two") == 6
        async with sessions.using(APP, session) as upload:
            await upload.finish(Digest.of(b"onetwo"))
        await sessions.end(session)
        nursery.cancel_scope.cancel()
    assert not desk.store.uploads.sessions()
    desk.store.close()


async def test_bytes_without_a_row_go_at_the_start(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    await sessions._close_idle(float("inf"), OPEN)
    await desk.records.end_upload(session)
    async with trio.open_nursery() as nursery:
        await nursery.start(sessions.run)
        assert not desk.store.uploads.sessions()
        nursery.cancel_scope.cancel()
    desk.store.close()


async def test_a_row_without_bytes_is_no_upload(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    await sessions._close_idle(float("inf"), OPEN)
    await desk.store.uploads.drop(session)
    with pytest.raises(RegistryError, match="has no upload"):
        await write(sessions, session, b"x")
    assert await desk.records.upload(session) is None
    desk.store.close()


async def test_at_another_front_end_it_is_not_lost(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    uploads = MemoryStore(StoreSettings()).uploads
    other = Sessions(records=desk.records, uploads=uploads, expiry=100.0, others=True, now=lambda: desk.now)
    with pytest.raises(RegistryError, match="another front end") as raised:
        await write(other, session, b"x")
    assert raised.value.status == 404
    assert await write(sessions, session, b"x") == 1
    desk.store.close()


async def test_of_another_repository(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    with pytest.raises(RegistryError, match="has no upload"):
        async with sessions.using(OTHER, session):
            raise AssertionError
    await sessions._close_idle(float("inf"), OPEN)
    desk.store.close()


async def test_expiry(desk: Desk) -> None:
    sessions = await desk.open()
    old, kept, busy = [await sessions.begin(APP, "sha256") for _ in range(3)]
    desk.now += timedelta(seconds=99)
    await sessions.extend(kept)
    desk.now += timedelta(seconds=50)
    async with sessions.using(APP, busy):
        assert await sessions.expire() == 1
        assert sorted(desk.store.uploads.sessions()) == sorted([kept, busy])
    assert await desk.records.upload(old) is None
    assert await sessions.expire() == 1
    desk.now += timedelta(seconds=500)
    assert await sessions.expire() == 1
    assert not desk.store.uploads.sessions()
    desk.store.close()


async def test_what_another_front_end_has_expired_goes_here_too(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    assert await write(sessions, session, b"x") == 1
    manifest = await desk.store.uploads.begin("manifest-1")
    other = Sessions(
        records=desk.records, uploads=MemoryStore(StoreSettings()).uploads, expiry=100.0, now=lambda: desk.now
    )
    desk.now += timedelta(seconds=101)
    assert await other.expire() == 1
    assert await sessions.expire() == 0  # one that is being begun has no row yet
    assert session in desk.store.uploads.sessions()
    await sessions.expire()
    # What somebody has in hand stays.
    assert desk.store.uploads.sessions() == ["manifest-1"]
    await manifest.discard()
    assert await sessions.expire() == 0
    desk.store.close()


async def test_idle_ones_are_closed_and_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.registry.sessions.IDLE_SECONDS", 0.02)
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    await write(sessions, session, b"one")
    async with trio.open_nursery() as nursery:
        await nursery.start(sessions.run)
        await until(lambda: not sessions._live and not sessions._in_use)
        assert await write(sessions, session, b"two") == 6
        nursery.cancel_scope.cancel()
    desk.store.close()


async def test_no_more_than_some_are_open(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.registry.sessions.OPEN", 2)
    sessions = await desk.open()
    names = [await sessions.begin(APP, "sha256") for _ in range(4)]
    assert len(sessions._live) == 2
    for name in names:
        assert await write(sessions, name, b"x") == 1
    await sessions._close_idle(float("inf"), 0)
    desk.store.close()


async def test_what_goes_on_while_others_expire_stays(desk: Desk) -> None:
    sessions = await desk.open()
    names = []
    for _ in range(3):
        names.append(await sessions.begin(APP, "sha256"))
        desk.now += timedelta(seconds=1)
    old, extended, busy = names
    desk.now += timedelta(seconds=200)
    end_upload = desk.records.end_upload
    async with AsyncExitStack() as hands:

        async def meanwhile(session: str) -> bool:
            assert session == old
            assert await write(sessions, extended, b"more") == 4
            await sessions.extend(extended)
            upload = await hands.enter_async_context(sessions.using(APP, busy))
            await upload.write(b"more")
            return await end_upload(session)

        desk.records.end_upload = meanwhile  # type: ignore[method-assign]
        assert await sessions.expire() == 1
    for name in (extended, busy):
        assert await write(sessions, name, b"!") == 5
    await sessions._close_idle(float("inf"), OPEN)
    desk.store.close()


async def test_the_database_fails_as_one_is_dropped(desk: Desk) -> None:
    sessions = await desk.open()
    session = await sessions.begin(APP, "sha256")
    end_upload = desk.records.end_upload

    async def fail(_: str) -> bool:
        raise LocalError("metadata", "is locked", "Wait")

    desk.records.end_upload = fail  # type: ignore[method-assign]
    with pytest.raises(LocalError):
        async with sessions.using(APP, session):
            await sessions.drop(session)
    desk.records.end_upload = end_upload  # type: ignore[method-assign]
    desk.now += timedelta(seconds=200)
    assert await sessions.expire() == 1
    assert not desk.store.uploads.sessions()
    desk.store.close()
