from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from p2p.core.oci.digest import Digest
from p2p.metadata import records
from p2p.metadata.sql import SqlMetadata, open_metadata
from tests.support.hosting_machine import BRIEF, HostingMachine
from tests.support.hosting_suite import HostingSuite
from tests.support.metadata_suite import APP, MetadataSuite, blob, row

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


class TestSqlMetadataCold(MetadataSuite, HostingSuite):
    """The same with nothing kept hot: every answer comes from the file."""

    @pytest.fixture
    async def metadata(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlMetadata]:
        monkeypatch.setattr(records, "HOT_LINKS", 0)
        monkeypatch.setattr(records, "HOT_TAGS", 0)
        async with open_metadata(tmp_path) as opened:
            yield opened

    @pytest.fixture
    def hosting(self, metadata: SqlMetadata) -> SqlMetadata:
        return metadata


async def test_all_is_there_after_reopening(tmp_path: Path) -> None:
    async with open_metadata(tmp_path) as metadata:
        await metadata.put_tag(APP, "1", row())
        await metadata.link(APP, [blob(b"layer")])
    async with open_metadata(tmp_path) as metadata:
        assert await metadata.tag(APP, "1") == row()
        assert await metadata.describe(APP, Digest.of(b"layer")) == blob(b"layer")
        assert await metadata.tags(APP, 5) == ["1"]


@pytest.mark.slow
def test_hosting_at_random_beside_a_model(tmp_path: Path) -> None:
    files = itertools.count()

    class Machine(HostingMachine):
        @staticmethod
        def open() -> AbstractAsyncContextManager[SqlMetadata]:
            state = tmp_path / f"{next(files)}"
            state.mkdir()
            return open_metadata(state)

    run_state_machine_as_test(Machine, settings=settings(BRIEF, max_examples=3))


@pytest.mark.slow
def test_the_seam_does_not_import_sqlalchemy() -> None:
    code = "import sys, p2p.metadata.api, p2p.metadata.memory_hosting; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
