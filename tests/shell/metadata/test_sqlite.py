from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.errors import LocalError
from p2p.metadata import sqlite
from p2p.metadata.sql import open_metadata
from p2p.metadata.sqlite import FILE, open_sqlite
from tests.support.metadata_suite import APP, row

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection


async def test_corrupt_file_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, " * 100)
    with pytest.raises(LocalError, match="corrupt") as caught:
        async with open_metadata(tmp_path):
            pass
    assert str(tmp_path / FILE) in caught.value.subject
    assert "moved aside" in caught.value.mend


async def test_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="unable to open"):
        async with open_metadata(tmp_path / "none"):
            pass


async def test_a_locked_database_names_the_other_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.0)
    async with open_metadata(tmp_path) as metadata:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(LocalError, match="state directory"):
                await metadata.put_tag(APP, "1", row())
        finally:
            other.close()
        await metadata.put_tag(APP, "1", row())  # and the connection is good for the next


async def test_dangling_tag_is_refused_by_foreign_keys(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata.put_tag(APP, "1", row())
        with pytest.raises(LocalError, match="FOREIGN KEY"):
            await metadata._database.do(lambda connection: connection.exec_driver_sql("DELETE FROM link"))


async def test_cancelled_write_is_whole_or_absent_and_the_store_goes_on(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        with trio.CancelScope() as scope:
            scope.cancel()
            await metadata.put_tag(APP, "1", row())
        assert await metadata.tag(APP, "1") in (None, row())
        await metadata.put_tag(APP, "2", row())
        assert "2" in await metadata.tags(APP, 5)


async def test_a_durable_transaction_waits_for_the_disk(tmp_path: Path) -> None:
    def synchronous(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    normal, full = 1, 2
    async with open_sqlite(tmp_path) as database:
        assert await database.do(synchronous) == normal
        assert await database.do(synchronous, durable=True) == full
        assert await database.do(synchronous, durable=True) == full
        assert await database.do(synchronous) == normal
