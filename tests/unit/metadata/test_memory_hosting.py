"""Runs the suites of hosting and metadata over the one in memory, and the model beside it; these assert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis.stateful import run_state_machine_as_test

from p2p.metadata.memory_hosting import MemoryHosting
from tests.support.hosting_machine import BRIEF, HostingMachine
from tests.support.hosting_suite import HostingSuite
from tests.support.metadata_suite import MetadataSuite


class TestMemoryHosting(HostingSuite, MetadataSuite):
    @pytest.fixture
    def hosting(self) -> MemoryHosting:
        return MemoryHosting()

    @pytest.fixture
    def metadata(self) -> MemoryHosting:
        return MemoryHosting()


class Machine(HostingMachine):
    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[MemoryHosting]:
        yield MemoryHosting()


@pytest.mark.slow
def test_at_random_beside_a_model() -> None:
    run_state_machine_as_test(Machine, settings=BRIEF)
