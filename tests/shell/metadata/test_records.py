from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.metadata.sql import open_metadata
from tests.support.metadata_suite import APP, MetadataSuite, blob, row

if TYPE_CHECKING:
    from pathlib import Path


class TestRecords(MetadataSuite):
    """In a file."""


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


@pytest.mark.slow
async def test_on_a_full_disk_pulls_go_on_from_memory(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata._database.do(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))
        links = [blob(b"%d" % number) for number in range(500)]
        await metadata.link(APP, links)
        assert await metadata.reaches(APP, links[-1].digest)
        for number in range(50):
            await metadata.put_tag(APP, f"{number}" * 50, row(b"%d" % number * 50))
        assert await metadata.tag(APP, "49" * 50) == row(b"49" * 50)
    async with open_metadata(tmp_path) as metadata:
        assert not await metadata.reaches(APP, links[-1].digest)
