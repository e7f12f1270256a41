"""Shared content in memory."""

from __future__ import annotations

import pytest

from p2p.content.memory import MemoryContent
from p2p.errors import ContentError
from tests.support.content_suite import ContentSuite, keys


class TestMemory(ContentSuite):
    @pytest.fixture
    def content(self) -> MemoryContent:
        return MemoryContent()


async def test_a_failure_is_everybodys() -> None:
    content = MemoryContent()
    content.failure = ContentError(content.name, "it is down")
    with pytest.raises(ContentError, match="it is down"):
        await keys(content)
    assert content.calls["keys"] == 1
