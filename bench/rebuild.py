"""``python -m bench.rebuild``: a tracker is killed and started anew; how soon it knows everything again.

The nodes are as many real clients of two trackers, in one process, with their own waits and chances.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import structlog
import trio
from rich.console import Console

from bench.figures import Aim, Figure, Target, table
from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.discovery.tracker_client import Identity
from p2p.discovery.trackers import Trackers
from tests.support.nodes import Tracker, get
from tests.support.processes import kill_all

SIZE = 64 << 20
GOAL = 10.0
KNOWS = re.compile(r'^remora_tracker_(nodes\{state="connected"\}|holdings) (\S+)$', re.MULTILINE)


async def known(address: str) -> tuple[int, int]:
    """Give the connected nodes of a tracker, and the holdings that it knows of."""
    answer = await trio.to_thread.run_sync(get, address, "/metrics")
    nodes, holdings = (int(float(value)) for _, value in KNOWS.findall(answer.body.decode()))
    return nodes, holdings


async def until(address: str, wanted: tuple[int, int], limit: float) -> float:
    """Wait until a tracker knows so much; gives the seconds. AssertionError after ``limit``."""
    began = trio.current_time()
    while (found := await known(address)) != wanted:
        if trio.current_time() - began > limit:
            raise AssertionError(f"it knows {found}, not {wanted}")
        await trio.sleep(0.1)
    return trio.current_time() - began


async def measure(count: int, holdings: int, down: float, directory: Path) -> list[Figure]:
    """Connect all, kill one of the trackers, start it anew after ``down`` seconds."""
    with Tracker(directory, name="one") as one, Tracker(directory, name="two") as two:
        addresses = [str(tracker.ready["listen"]) for tracker in (one, two)]
        urls = [f"ws://{address}" for address in addresses]
        layout = Layout(SIZE)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                identity = Identity(f"{number:032x}", f"node-{number}", "10.0.0.1", 5001)
                client = Trackers(urls, identity, rng=random.Random(number))
                for held in range(holdings):
                    digest = Digest.of(f"{number % 20} {held}".encode())
                    client.announce(Holding(str(digest), SIZE, layout.count, True))
                nursery.start_soon(client.run)
            everything = (count, count * holdings)
            first = max([await until(address, everything, 120.0) for address in addresses])
            await trio.to_thread.run_sync(one.kill)
            await trio.sleep(down)
            began = time.perf_counter()
            again = Tracker(directory, name="one", listen=addresses[0])
            await trio.to_thread.run_sync(again.start)
            serving = time.perf_counter() - began
            took = await until(addresses[0], everything, 60.0)
            spent = again.cpu_seconds()
            nursery.cancel_scope.cancel()
    detail = (
        f"{count:,} nodes, {count * holdings:,} holdings; down for {down:g} s, then {serving:.2f} s until it "
        f"served; {spent:.1f} s of its processor time; cold, all at once, it took {first:.1f} s"
    )
    return [Figure("all known again", took, "s", detail, {}, Target(Aim.AT_MOST, GOAL))]


@click.command()
@click.option("--nodes", default=1000, show_default=True)
@click.option("--holdings", default=100, show_default=True, help="Blobs that each node has.")
@click.option("--down", default=2.0, show_default=True, help="Seconds for which the tracker is away.")
def main(nodes: int, holdings: int, down: float) -> None:
    """Measure how soon a tracker that was killed knows everything again."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    directory = Path(tempfile.mkdtemp(prefix="remora-bench-"))
    try:
        figures = trio.run(measure, nodes, holdings, down, directory)
    finally:
        kill_all()
        shutil.rmtree(directory, ignore_errors=True)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table(figures))


if __name__ == "__main__":
    main(prog_name="python -m bench.rebuild")
