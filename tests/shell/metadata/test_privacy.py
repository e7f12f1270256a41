from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.metadata.sql import SqlMetadata, open_metadata
from tests.support.metadata_suite import blob
from tests.support.private_suite import NOW, ONE, SECRET, PrivateSuite, VisibilityRow, rows

if TYPE_CHECKING:
    from pathlib import Path


class TestPrivacy(PrivateSuite):
    """In a file."""

    @pytest.fixture
    def private(self, hosting: SqlMetadata) -> SqlMetadata:
        return hosting


async def test_all_is_there_after_reopening(tmp_path: Path) -> None:
    row = VisibilityRow(private=True, judged_at=NOW)
    async with open_metadata(tmp_path) as metadata:
        await metadata.put_visibility(SECRET, row)
        await metadata.confine(SECRET, ONE, proven=True)
    async with open_metadata(tmp_path) as metadata:
        assert await metadata.visibility(SECRET) == row
        assert await rows(metadata) == {(ONE, SECRET): True}


async def test_a_repository_that_is_dropped_goes_with_what_it_confined(hosting: SqlMetadata) -> None:
    await hosting.link(SECRET, [blob(b"one")])
    await hosting.confine(SECRET, ONE, proven=True)
    await hosting.drop_repository(SECRET)
    assert await rows(hosting) == {}
