"""Opening what the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.content.directory import DirectoryContent
from p2p.content.factory import open_content
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


async def test_by_scheme(tmp_path: Path) -> None:
    async with open_content(f"file://{tmp_path}") as content:
        assert isinstance(content, DirectoryContent)
        assert content.name == f"file://{tmp_path}"


async def test_of_a_scheme_that_nobody_brings() -> None:
    with pytest.raises(ConfigError, match=r"remora.content ftp.*choose of: file, s3"):
        async with open_content("ftp://host/x"):
            raise AssertionError


async def test_what_is_no_url() -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        async with open_content("/mnt/x"):
            raise AssertionError
