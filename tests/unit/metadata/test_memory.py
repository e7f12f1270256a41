"""Runs the suite of metadata over the one in memory; its tests assert."""

from __future__ import annotations

import pytest

from p2p.metadata.memory import MemoryMetadata
from tests.support.metadata_suite import MetadataSuite


class TestMemoryMetadata(MetadataSuite):
    @pytest.fixture
    def metadata(self) -> MemoryMetadata:
        return MemoryMetadata()
