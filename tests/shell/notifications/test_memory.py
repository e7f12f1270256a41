"""Runs the suite of queues over the one in memory; its tests assert."""

from __future__ import annotations

import pytest

from p2p.notifications.memory import MemoryQueue
from tests.support.happenings import Clock
from tests.support.queue_suite import AGE, KEPT, QueueSuite


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def queue(self, clock: Clock) -> MemoryQueue:
        return MemoryQueue(max_events=KEPT, max_age=AGE, clock=clock)
