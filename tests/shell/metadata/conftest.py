from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from p2p.metadata.sql import SqlMetadata, open_metadata

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def hosting(tmp_path: Path) -> AsyncIterator[SqlMetadata]:
    """In a file, with hot answers in memory."""
    async with open_metadata(tmp_path) as opened:
        yield opened


@pytest.fixture
def metadata(hosting: SqlMetadata) -> SqlMetadata:
    return hosting
