from __future__ import annotations

import pytest

from p2p.metadata.memory_hosting import MemoryHosting
from tests.support.hosting_suite import HostingSuite
from tests.support.metadata_suite import MetadataSuite


class TestMemoryHosting(HostingSuite, MetadataSuite):
    @pytest.fixture
    def hosting(self) -> MemoryHosting:
        return MemoryHosting()

    @pytest.fixture
    def metadata(self) -> MemoryHosting:
        return MemoryHosting()
