"""Runs the suites of private content and metadata over the one in memory; its tests assert."""

from __future__ import annotations

import pytest

from p2p.metadata.memory_private import MemoryPrivacy
from tests.support.metadata_suite import MetadataSuite
from tests.support.private_suite import PrivateSuite


class TestMemoryPrivacy(PrivateSuite, MetadataSuite):
    @pytest.fixture
    def private(self) -> MemoryPrivacy:
        return MemoryPrivacy()

    @pytest.fixture
    def metadata(self) -> MemoryPrivacy:
        return MemoryPrivacy()
