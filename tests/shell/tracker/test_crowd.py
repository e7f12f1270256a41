"""A small flash crowd with the benchmark's own clients; ``python -m bench.tracker`` is the large one."""

from __future__ import annotations

import pytest
import trio

from bench.crowd import Crowd, Seen, run
from tracker.server import run as run_tracker
from tracker.settings import TrackerSettings


@pytest.mark.slow
async def test_a_flash_crowd_is_answered_in_time(nursery) -> None:
    crowd = Crowd(nodes=120, blobs=4, within=0.5, seconds=3.0, holdings=20)
    seen, begin = Seen(), trio.Event()
    server = await nursery.start(run_tracker, TrackerSettings(listen="127.0.0.1:0"))
    with trio.fail_after(50):
        async with trio.open_nursery() as clients:
            clients.start_soon(run, server.addresses[0], crowd, begin, seen)
            await seen.all_here.wait()
            begin.set()
    report = seen.report()
    assert report["finished"] == crowd.nodes
    assert report["unanswered"] == 0
    assert report["wants"] == crowd.nodes * crowd.blobs
    assert report["leases_granted_most"] == 1, "one node streams each blob"
    # Tracker and clients share a thread here, and the machine is anybody's: the figure is the benchmark's.
    assert report["waits_ms"]["p99"] < 2000
    assert report["gaps_s"]["p99"] < 3.0, "plans are pushed before they expire"
    server.stop()
