"""``python -m bench.tracker``: one tracker, thousands of connected nodes, and a flash crowd.

The crowd: all nodes want the same image within seconds, all its blobs at once; each announces its chunks
every second, and is pushed plans until it has the blobs. One process is the tracker, one more is all nodes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench.crowd import Crowd
from bench.figures import Aim, Figure, Target, table
from tests.support.nodes import Tracker
from tests.support.processes import kill_all

MB = 1e6
GOAL = 250.0
"""Milliseconds from a want to its plan that 99 of 100 stay below."""


def measure(crowd: Crowd, directory: Path) -> dict[str, Any]:
    """Have the crowd come to a fresh tracker; gives what both processes say of it."""
    with Tracker(directory) as tracker:
        idle = tracker.resident()
        argv = [sys.executable, "-m", "bench.crowd", str(tracker.ready["listen"])]
        for name in ("nodes", "blobs", "within", "seconds", "holdings"):
            argv += [f"--{name}", str(getattr(crowd, name))]
        began = time.perf_counter()
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdin is not None
            assert clients.stdout is not None
            try:
                if not clients.stdout.readline():
                    raise AssertionError("the crowd did not come up")
                connected = time.perf_counter() - began
                connecting, resident = tracker.cpu_seconds(), tracker.resident()
                began = time.perf_counter()
                clients.stdin.write("\n")
                clients.stdin.flush()
                answer = clients.stdout.readline()
                took = time.perf_counter() - began
            finally:
                if clients.poll() is None:
                    clients.stdin.close()
                    clients.terminate()
        if not answer:
            raise AssertionError("the crowd broke; see above")
        return {
            **json.loads(answer),
            "connect_s": round(connected, 2),
            "connect_cpu_s": round(connecting, 2),
            "crowd_s": round(took, 2),
            "crowd_cpu_s": round(tracker.cpu_seconds() - connecting, 2),
            "idle_bytes": idle,
            "connected_bytes": resident,
            "crowd_bytes": tracker.resident(),
        }


def figures(found: dict[str, Any], crowd: Crowd) -> list[Figure]:
    """Turn what was measured into rows."""
    waits, gaps, late = found["waits_ms"], found["gaps_s"], found["client_late_ms"]
    cpu, took = found["crowd_cpu_s"], found["crowd_s"]
    memory = found["crowd_bytes"] - found["idle_bytes"]
    holdings = crowd.nodes * (crowd.holdings + crowd.blobs)
    return [
        Figure(
            "plan after a want, p99",
            waits["p99"],
            "ms",
            f"p50 {waits['p50']:.0f}, longest {waits['max']:.0f} of {found['wants']:,}, "
            f"{found['unanswered']:,} unanswered; "
            f"clients ran behind by p50 {late['p50']:.0f}, p99 {late['p99']:.0f} themselves",
            {},
            Target(Aim.AT_MOST, GOAL),
        ),
        Figure(
            "between two plans of a want, longest",
            gaps["max"],
            "s",
            f"p50 {gaps['p50']:.1f}, p99 {gaps['p99']:.1f}; a plan expires after 3",
            {},
            Target(Aim.AT_MOST, 3.0),
        ),
        Figure(
            "leases granted for a blob, most",
            found["leases_granted_most"],
            "",
            "one node streams it from the origin",
            {},
            Target(Aim.AT_MOST, 1.0),
        ),
        Figure(
            "processor, during the crowd",
            100 * cpu / took,
            "%",
            f"of one core; {cpu:.1f} s in {took:.1f} s, {found['plans']:,} plans, "
            f"{found['received_bytes'] / MB:,.0f} MB sent",
            {},
        ),
        Figure(
            "memory, with all of it",
            found["crowd_bytes"] / MB,
            "MB",
            f"idle {found['idle_bytes'] / MB:.0f}; {memory / crowd.nodes / 1000:.0f} kB a node "
            f"with its {crowd.holdings + crowd.blobs} holdings, {holdings:,} in all",
            {},
        ),
        Figure(
            "all connected and announced",
            found["connect_s"],
            "s",
            f"{found['connect_cpu_s']:.1f} s of the tracker's processor time",
            {},
        ),
    ]


@click.command()
@click.option("--nodes", default=2000, show_default=True, help="Connected nodes.")
@click.option("--blobs", default=8, show_default=True, help="Blobs of the image that all of them want.")
@click.option("--within", default=5.0, show_default=True, help="Seconds in which all begin.")
@click.option("--seconds", default=20.0, show_default=True, help="Seconds that a pull takes.")
@click.option("--holdings", default=100, show_default=True, help="Other blobs that each node has.")
@click.option(
    "--json",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("bench/results/tracker.json"),
    show_default=True,
    help="Where the figures go as JSON.",
)
def main(nodes: int, blobs: int, within: float, seconds: float, holdings: int, output: Path) -> None:
    """Measure a tracker under a flash crowd."""
    crowd = Crowd(nodes, blobs, within, seconds, holdings)
    directory = Path(tempfile.mkdtemp(prefix="remora-bench-"))
    try:
        found = measure(crowd, directory)
    finally:
        kill_all()
        shutil.rmtree(directory, ignore_errors=True)
    rows = figures(found, crowd)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table(rows))
    output.parent.mkdir(parents=True, exist_ok=True)
    report = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "cpus": os.cpu_count(), **found}
    output.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(prog_name="python -m bench.tracker")
