from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from p2p.errors import LocalError
from p2p.notifications.queue import FILE, EventQueue, open_queue
from tests.support.happenings import Clock, happening
from tests.support.queue_suite import AGE, KEPT, QueueSuite

ROOT = Path(__file__).parents[3]


class TestEventQueue(QueueSuite):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def queue(self, tmp_path: Path, clock: Clock) -> AsyncIterator[EventQueue]:
        async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=clock) as queue:
            yield queue


async def test_all_is_there_after_reopening(tmp_path: Path) -> None:
    async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=Clock()) as queue:
        await queue.begin("a")
        await queue.append([happening(content=b"1"), happening(content=b"2")])
        await queue.confirm("a", 1)
        before = await queue.read(0, 10)
    async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=Clock()) as queue:
        assert queue.last == 2
        assert await queue.begin("a") == (1, False)
        assert await queue.read(0, 10) == before


KILLED = """
import os, signal, sys, trio
from datetime import timedelta
from pathlib import Path
from p2p.notifications.queue import open_queue
from tests.support.happenings import Clock, happening

async def main():
    async with open_queue(Path(sys.argv[1]), max_events=99, max_age=timedelta(1), clock=Clock()) as queue:
        await queue.begin("a")
        for number in range(3):
            await queue.append([happening(content=b"%d" % number)])
        await queue.confirm("a", 1)
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


@pytest.mark.slow
async def test_what_was_noted_survives_sigkill(tmp_path: Path) -> None:
    ended = await trio.run_process([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    async with open_queue(tmp_path, max_events=99, max_age=timedelta(1), clock=Clock()) as queue:
        assert await queue.begin("a") == (1, False)
        events = await queue.read(1, 10)
        assert [event.happening for event in events] == [happening(content=one) for one in (b"1", b"2")]


async def test_numbers_grow_though_all_events_have_gone(tmp_path: Path) -> None:
    clock = Clock()
    async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=clock) as queue:
        await queue.append([happening(), happening()])
        clock.now += 2 * AGE
        assert list(await queue.read(0, 10)) == []
    async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=clock) as queue:
        assert queue.last == 2
        await queue.append([happening()])
        assert [event.number for event in await queue.read(0, 10)] == [3]


async def test_a_damaged_record_is_left_out(tmp_path: Path) -> None:
    async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=Clock()) as queue:
        await queue.append([happening(), happening()])
        raw = sqlite3.connect(tmp_path / FILE)
        raw.execute("UPDATE event SET body = x'00' WHERE number = 1")
        raw.commit()
        raw.close()
        assert [event.number for event in await queue.read(0, 10)] == [2]


async def test_a_file_of_rubbish_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"rubbish " * 1000)
    with pytest.raises(LocalError, match=r"corrupt.*moved aside"):
        async with open_queue(tmp_path, max_events=KEPT, max_age=AGE, clock=Clock()):
            pass
