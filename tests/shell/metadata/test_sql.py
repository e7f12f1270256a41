from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.errors import LocalError
from p2p.metadata import sql
from p2p.metadata.sql import FILE, SqlMetadata, open_metadata
from tests.support.metadata_suite import APP, MetadataSuite, blob, row

if TYPE_CHECKING:
    from pathlib import Path


class TestSqlMetadata(MetadataSuite):
    @pytest.fixture
    async def metadata(self, tmp_path: Path) -> AsyncIterator[SqlMetadata]:
        async with open_metadata(tmp_path) as opened:
            yield opened


class TestSqlMetadataCold(MetadataSuite):
    """The same with nothing kept hot: every answer comes from the file."""

    @pytest.fixture
    async def metadata(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlMetadata]:
        monkeypatch.setattr(sql, "HOT_LINKS", 0)
        monkeypatch.setattr(sql, "HOT_TAGS", 0)
        async with open_metadata(tmp_path) as opened:
            yield opened


async def test_all_is_there_after_reopening(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata.put_tag(APP, "1", row())
        await metadata.link(APP, [blob(b"layer")])
    async with open_metadata(tmp_path) as metadata:
        assert await metadata.tag(APP, "1") == row()
        assert await metadata.describe(APP, Digest.of(b"layer")) == blob(b"layer")
        assert await metadata.tags(APP, 5) == ["1"]


async def test_an_answer_given_before_costs_no_thread_hop(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata.put_tag(APP, "1", row())
        await metadata.link(APP, [blob(b"layer")])
    async with open_metadata(tmp_path) as metadata:
        await metadata.tag(APP, "1")
        await metadata.reaches(APP, Digest.of(b"layer"))
        with trio.CancelScope() as scope:
            scope.cancel()  # any checkpoint, a thread hop included, would end the block here
            assert await metadata.tag(APP, "1") == row()
            assert await metadata.reaches(APP, Digest.of(b"layer"))
            await metadata.link(APP, [blob(b"layer")])
        assert not scope.cancelled_caught


async def test_corrupt_file_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, " * 100)
    with pytest.raises(LocalError, match="corrupt") as caught:
        async with open_metadata(tmp_path):
            pass
    assert str(tmp_path / FILE) in caught.value.subject
    assert "moved aside" in caught.value.mend


async def test_later_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with open_metadata(tmp_path):
        pass
    raw = sqlite3.connect(tmp_path / FILE)
    raw.execute("UPDATE schema_version SET version = 99")
    raw.commit()
    raw.close()
    with pytest.raises(LocalError, match="version 99") as caught:
        async with open_metadata(tmp_path):
            pass
    assert "release that wrote it" in caught.value.mend


async def test_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="unable to open"):
        async with open_metadata(tmp_path / "none"):
            pass


async def test_a_locked_database_names_the_other_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BUSY_SECONDS", 0.0)
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
            await metadata._do(lambda: metadata._connection.exec_driver_sql("DELETE FROM link"))


@pytest.mark.slow
async def test_on_a_full_disk_pulls_go_on_from_memory(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata._do(lambda: metadata._connection.exec_driver_sql("PRAGMA max_page_count=1"))
        links = [blob(b"%d" % number) for number in range(500)]
        await metadata.link(APP, links)
        assert await metadata.reaches(APP, links[-1].digest)
        for number in range(50):
            await metadata.put_tag(APP, f"{number}" * 50, row(b"%d" % number * 50))
        assert await metadata.tag(APP, "49" * 50) == row(b"49" * 50)
    async with open_metadata(tmp_path) as metadata:
        assert not await metadata.reaches(APP, links[-1].digest)


async def test_cancelled_write_is_whole_or_absent_and_the_store_goes_on(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        with trio.CancelScope() as scope:
            scope.cancel()
            await metadata.put_tag(APP, "1", row())
        assert await metadata.tag(APP, "1") in (None, row())
        await metadata.put_tag(APP, "2", row())
        assert "2" in await metadata.tags(APP, 5)


@pytest.mark.slow
def test_the_seam_does_not_import_sqlalchemy() -> None:
    code = "import sys, p2p.metadata.api, p2p.metadata.memory; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
