from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.errors import LocalError, StoreFullError
from p2p.sqlite import Database, mapped, open_database

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

SCHEMA = ("CREATE TABLE thing (name TEXT PRIMARY KEY)",)


def opened(path: Path, version: int = 1) -> AbstractAsyncContextManager[Database]:
    return open_database(path, SCHEMA, version=version, what="test file", aside="Nothing is lost")


def put(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO thing VALUES ('a')")


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM thing").fetchone()[0])


async def test_what_an_earlier_version_made_is_emptied_where_it_is_disposable(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        await database.do(put)
    schema = ("CREATE TABLE thing (name TEXT, more TEXT)",)
    later = {"version": 2, "what": "test file", "aside": "Nothing is lost"}
    with pytest.raises(LocalError, match="version 1"):
        async with open_database(tmp_path / "x.db", schema, **later):  # type: ignore[arg-type]
            pass
    for _ in range(2):
        async with open_database(tmp_path / "x.db", schema, disposable=True, **later) as database:  # type: ignore[arg-type]
            assert await database.do(count) == 0
    with pytest.raises(LocalError, match="version 2"):
        async with open_database(  # what a later release made is left alone
            tmp_path / "x.db", SCHEMA, version=1, what="test file", aside="Nothing", disposable=True
        ):
            pass


async def test_work_is_a_transaction_and_survives(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        await database.do(put)

        def broken(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO thing VALUES ('b')")
            raise KeyError

        with pytest.raises(KeyError):
            await database.do(broken)
        with pytest.raises(LocalError, match="test file"):
            await database.do(put)  # the same key again
        assert await database.do(count) == 1
    async with opened(tmp_path / "x.db") as database:
        assert await database.do(count) == 1


async def test_a_cancelled_wait_leaves_the_file_usable(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        with trio.CancelScope() as scope:
            scope.cancel()
            await database.do(put)
        assert await database.do(count) in (0, 1)


async def test_another_version_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db"):
        pass
    with pytest.raises(LocalError, match=r"version 1 and this release knows version 2.*Nothing is lost"):
        async with opened(tmp_path / "x.db", version=2):
            pass
    async with opened(tmp_path / "x.db"):
        pass


async def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="unable to open"):
        async with opened(tmp_path / "no" / "x.db"):
            pass


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("database is locked", LocalError, "Another node"),
        ("database or disk is full", StoreFullError, "Free space"),
        ("file is not a database", LocalError, "Aside"),
        ("disk I/O error", LocalError, "Check that"),
    ],
)
def test_errors_are_mapped(said: str, kind: type[LocalError], told: str) -> None:
    error = mapped("file", sqlite3.OperationalError(said), "Aside")
    assert type(error) is kind
    assert told in str(error)


async def test_it_is_closed_behind_the_work_under_way(tmp_path: Path) -> None:
    """One thread that closes what another uses is the end of the process."""
    begun, go = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        begun.set()
        assert go.wait(5)
        return count(connection)

    async with opened(tmp_path / "x.db") as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.do, slow)
        await trio.to_thread.run_sync(begun.wait)
        nursery.start_soon(database.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert not database._closed
        go.set()
    with pytest.raises(LocalError, match="is closed"):
        await database.do(count)
