"""Two hundred nodes, a quarter dead: how long a provider takes to be found, and what a burst does."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

from p2p.core.dht.contact import K

PROCESSES = 4
TARGETS = {"median": 0.3, "p99": 2.0}


class Process:
    """A worker, and the numbers of its nodes; ``said``: what it printed as errors, once it has ended."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.said = ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in `end`
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.dht_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def send(self, name: str, *arguments: object) -> None:
        """Give an order."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps([name, arguments]) + "\n")
        self._child.stdin.flush()

    def receive(self) -> Any:
        """Wait for its answer."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "a worker ended"
        return json.loads(line)

    def ask(self, name: str, *arguments: object) -> Any:
        """Both."""
        self.send(name, *arguments)
        return self.receive()

    def end(self) -> None:
        """Close its input, which ends it."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._errors.seek(0)
        self.said = self._errors.read()
        self._errors.close()


@contextmanager
def processes(count: int) -> Iterator[list[Process]]:
    """Start ``count`` nodes in a few processes; all of them know the first one alone."""
    workers = [Process(list(range(first, count, PROCESSES))) for first in range(PROCESSES)]
    try:
        bootstrap: list[str] = []
        for worker in workers:
            addresses = worker.ask("start", worker.numbers, bootstrap)
            bootstrap = bootstrap or [addresses["0"]]
        yield workers
    finally:
        for worker in workers:
            worker.end()


def everywhere(workers: list[Process], name: str, *arguments: object) -> list[Any]:
    """Ask all at once."""
    for worker in workers:
        worker.send(name, *arguments)
    return [worker.receive() for worker in workers]


def network(short: bool) -> dict[str, Any]:
    """Run it; ``broken`` names the promises that did not hold."""
    count, blobs, burst = (60, 60, 400) if short else (200, 400, 2000)
    rng = random.Random(7)
    with processes(count) as workers:
        begun = time.perf_counter()
        wait_for_tables(workers, K)
        joined = time.perf_counter() - begun
        everyone = list(range(count))
        dead = set(rng.sample(everyone[1:], count // 4))
        living = [number for number in everyone if number not in dead]
        providers = {f"blob {n}": rng.choice(living) for n in range(blobs)}
        stored = 0
        for worker in workers:
            mine: dict[int, list[str]] = {}
            for name, number in providers.items():
                if number in worker.numbers:
                    mine.setdefault(number, []).append(name)
            worker.send("provide", mine)
        stored = sum(worker.receive() for worker in workers)
        before = [worker.ask("tables") for worker in workers]
        for worker in workers:
            worker.ask("stop", [number for number in worker.numbers if number in dead])

        seekers = [number for number in living if number]
        times: list[float] = []
        for name, provider in providers.items():
            seeker = rng.choice([number for number in seekers if number != provider])
            worker = workers[seeker % PROCESSES]
            times += worker.ask("find", seeker, [name])
        seeker = rng.choice(seekers)
        worker = workers[seeker % PROCESSES]
        mine_before = worker.ask("tables")[str(seeker)]
        names = [*providers, *(f"nowhere {n}" for n in range(burst - blobs))]
        rng.shuffle(names)
        spike = worker.ask("burst", seeker, names)
        mine_after = worker.ask("tables")[str(seeker)]
        after = [one.ask("tables") for one in workers]
        memory = everywhere(workers, "memory")
    found = sorted(seconds for seconds in times if seconds >= 0)
    smallest = min(after[n % PROCESSES][str(n)] for n in living)
    figures: dict[str, Any] = {
        "nodes": count,
        "dead": len(dead),
        "joined_seconds": round(joined, 2),
        "contacts_before": summary([table for one in before for table in one.values()]),
        "records_put": f"{stored} of {blobs}",
        "found": f"{len(found)} of {blobs}",
        "median_ms": round(median(found) * 1000, 1),
        "p90_ms": round(quantiles(found, n=10)[8] * 1000, 1),
        "p99_ms": round(quantiles(found, n=100)[98] * 1000, 1),
        "longest_ms": round(found[-1] * 1000, 1),
        "burst": f"{burst} lookups in {spike['seconds']:.2f} s, {spike['found']} found",
        "contacts_of_the_seeker": f"{mine_before} before the burst, {mine_after} after",
        "smallest_table_after": smallest,
        "memory_mb_per_node": round(sum(memory) / count / 1e6, 1),
    }
    figures["broken"] = [
        words
        for words, holds in (
            ("a provider was not found", len(found) == blobs),
            ("median above 300 ms", median(found) <= TARGETS["median"]),
            ("p99 above 2 s", quantiles(found, n=100)[98] <= TARGETS["p99"]),
            # The dead may go, and should: a quarter of the table is.
            ("a burst lost contacts", mine_after >= 0.7 * mine_before and smallest >= 8),
        )
        if not holds
    ]
    return figures


def wait_for_tables(workers: list[Process], least: int, seconds: float = 150.0) -> None:
    """Wait until every node knows so many others."""
    until = time.perf_counter() + seconds
    while min(size for one in everywhere(workers, "tables") for size in one.values()) < least:
        assert time.perf_counter() < until, f"some node knows fewer than {least} others"


def summary(sizes: list[int]) -> str:
    """Write smallest, median, largest."""
    return f"{min(sizes)} to {max(sizes)}, median {median(sizes):.0f}"
