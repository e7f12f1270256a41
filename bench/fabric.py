"""``python -m bench.fabric [--nodes N] [--rate MBIT] [--size MIB] [--only NAME …] [--json FILE]``.

Real nodes in network namespaces with shaped links, and a client on each that pulls one blob at the same
moment. The makespan is the time until the last client has all of it, held against what no scheme can beat: M
chunks to N nodes over links of one chunk a round take M + floor(log2 N) rounds (Mundinger, Weber, Weiss), the
origin's link being one of them; and against what the simulator says of such a swarm. Both reckon with what of
the links' rate is payload. Bytes over the uplink and from the origin are given in copies of the blob.

Two cores carry all nodes, all clients, the origin and the network: choose a rate that they can.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from p2p.core.swarm.chunks import Layout
from p2p.sim.scenario import Scenario
from p2p.sim.world import Result
from p2p.sim.world import run as simulate
from tests.support.fabric import GOODPUT, MBIT, Fabric, FabricNode, FabricRegistry
from tests.support.images import MIB, Content, OciLayout
from tests.support.nodes import Tracker, remora
from tests.support.processes import kill_all

UPSTREAM = "origin.test"
CHUNKS = 256
CROWD = Scenario("fabric", 16)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. ``bound`` and ``makespan`` in seconds; ``origin`` and ``uplink`` in copies of the blob.

    ``uplink`` is all that went over it, headers and control messages too, but for the body that the origin
    gave to a node behind it: it has to stand in some zone here, and is in none for the nodes.
    """

    scenario: str
    nodes: int
    bound: float
    predicted: float
    """Seconds that the simulator gives for the same number of nodes and chunks and the same rates."""
    makespan: float
    median: float
    origin: float
    uplink: float
    complete: int
    cpu: float
    """Processor seconds of all nodes for each GB that they received."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How large all is. ``rate`` of a link in Mbit/s, ``uplink`` between the zones."""

    directory: Path
    nodes: int
    rate: float
    uplink: float
    size: int

    def predicted(self, scenario: Scenario) -> Result:
        """Simulate a scenario at these sizes: streaming clients, the origin on a link like all others."""
        rate = self.rate * MBIT * GOODPUT
        return simulate(
            scenario.but(
                nodes=self.nodes,
                size=self.size,
                up=rate,
                down=rate,
                origin_rate=rate,
                streaming=True,
                known=0 if scenario.tracker and not scenario.tracker_down else self.nodes - 1,
                zone_rate=self.uplink * MBIT * GOODPUT if scenario.zones > 1 else 0.0,
            )
        )


class Stage:
    """Origin, trackers and nodes of one run."""

    def __init__(self, setting: Setting, fabric: Fabric, blob: Content, origin: FabricRegistry) -> None:
        self.setting = setting
        self.fabric = fabric
        self.blob = blob
        self.origin = origin
        self.nodes: list[FabricNode] = []
        self.trackers: list[Tracker] = []

    def tracker(self) -> Tracker:
        """Start one beside the hosts."""
        name = f"tracker-{len(self.trackers)}"
        tracker = Tracker(self.setting.directory, name=name, listen=f"{self.fabric.outside}:0")
        tracker.argv.append("--insecure")
        tracker.start()
        self.trackers.append(tracker)
        return tracker

    def start(self, count: int, *, zone: str = "a", options: Sequence[str] = ()) -> None:
        """Start cold nodes on hosts of their own."""
        urls = [f"ws://{tracker.ready['listen']}" for tracker in self.trackers]
        fresh = [
            FabricNode(
                self.fabric.host(zone),
                f"node-{len(self.nodes) + number}",
                self.setting.directory,
                upstreams={UPSTREAM: self.origin.address},
                trackers=urls,
                options=options,
            )
            for number in range(count)
        ]
        for node in fresh:
            node.launch()
        for node in fresh:
            node.wait_ready()
        self.nodes += fresh

    @property
    def bound(self) -> float:
        """Seconds that no scheme can beat."""
        layout = Layout(self.blob.size)
        rounds = layout.count + math.floor(math.log2(self.setting.nodes))
        return rounds * layout.chunk / (self.setting.rate * MBIT * GOODPUT)

    def pull(
        self,
        scenario: str,
        simulated: Scenario = CROWD,
        *,
        meanwhile: Callable[[float], None] = lambda _: None,
    ) -> Outcome:
        """Pull everywhere at once; ``meanwhile`` is called with the bound's seconds when all have begun."""
        size, bound = self.blob.size, self.bound
        predicted = replace(self.setting, size=size).predicted(simulated).makespan
        crossed, cpu = self.fabric.crossed(), sum(node.cpu_seconds() for node in self.nodes)
        self.origin.traffic()
        clients = [node.pull(f"/v2/app/blobs/{self.blob.digest}") for node in self.nodes]
        meanwhile(bound)
        times: list[float] = []
        for client in clients:
            said = client.communicate(timeout=60 + 20 * bound)[0].split()
            if said[1:] == [str(size), "200"]:
                times.append(float(said[0]))
        used = sum(node.cpu_seconds() for node in self.nodes) - cpu
        traffic, far = self.origin.traffic(), {host.address for host in self.fabric.far}
        between = self.fabric.crossed() - crossed - traffic.egress(self.blob.digest, far)
        return Outcome(
            scenario=scenario,
            nodes=len(self.nodes),
            bound=bound,
            predicted=predicted,
            makespan=max(times, default=math.inf),
            median=sorted(times)[len(times) // 2] if times else math.inf,
            origin=traffic.egress(self.blob.digest) / size,
            uplink=between / size,
            complete=len(times),
            cpu=used / (len(times) * size / 1e9) if times else math.inf,
        )


def with_tracker(stage: Stage) -> Outcome:
    """One zone, one tracker."""
    stage.tracker()
    stage.start(stage.setting.nodes)
    return stage.pull("tracker")


def tracker_killed(stage: Stage) -> Outcome:
    """The tracker is killed in the middle and never comes back."""
    tracker = stage.tracker()
    stage.start(stage.setting.nodes)

    def kill(bound: float) -> None:
        time.sleep(bound / 2)  # noqa: TID251 - a moment of the run, not a condition
        tracker.kill()

    dies = CROWD.but(tracker_down=((stage.bound / 2, math.inf),))
    return stage.pull("tracker killed at half time", dies, meanwhile=kill)


def without_tracker(stage: Stage) -> Outcome:
    """The DHT alone: no tracker, and one node's address to begin with."""
    keys = stage.setting.directory / "cluster-key"
    keys.write_text(remora("cluster", "key").stdout)
    key = ("--cluster-key-file", str(keys))
    stage.start(1, options=key)
    stage.start(stage.setting.nodes - 1, options=(*key, "--bootstrap", stage.nodes[0].address))
    for node in stage.nodes:
        node.wait_for(
            "contacts", lambda node=node: node.status()["dht"]["contacts"] >= min(8, len(stage.nodes) - 1)
        )
    return stage.pull("DHT alone", CROWD.but(tracker=False))


def two_zones(stage: Stage) -> Outcome:
    """Two zones that a thin uplink joins."""
    stage.tracker()
    half = stage.setting.nodes // 2
    stage.start(stage.setting.nodes - half, zone="a")
    stage.start(half, zone="b")
    return stage.pull("two zones", CROWD.but(zones=2))


SCENARIOS: dict[str, tuple[tuple[str, ...], Callable[[Stage], Outcome]]] = {
    "tracker": (("a",), with_tracker),
    "killed": (("a",), tracker_killed),
    "dht": (("a",), without_tracker),
    "zones": (("a", "b"), two_zones),
}


@contextmanager
def staged(setting: Setting, zones: tuple[str, ...], blob: Content, layout: OciLayout) -> Iterator[Stage]:
    """A fabric with the origin in it, which has the blob."""
    setting.directory.mkdir()
    with Fabric(zones, rate=setting.rate, uplink=setting.uplink) as fabric:
        host = fabric.host(rate=0)
        stage: Stage | None = None
        try:
            with FabricRegistry(host, setting.directory) as origin:
                origin.push("app", layout.image([blob]), "1")
                fabric.shape(host, setting.rate)
                stage = Stage(setting, fabric, blob, origin)
                yield stage
        finally:
            for process in (*stage.nodes, *stage.trackers) if stage is not None else ():
                process.stop()
    shutil.rmtree(setting.directory)


def table(outcomes: Sequence[Outcome]) -> Table:
    """For people."""
    laid = Table(
        *("scenario", "nodes", "complete", "bound", "predicted", "makespan", "× bound", "× predicted"),
        *("median", "origin", "uplink", "CPU"),
    )
    for one in outcomes:
        laid.add_row(
            one.scenario,
            str(one.nodes),
            str(one.complete),
            f"{one.bound:.2f} s",
            f"{one.predicted:.2f} s",
            f"{one.makespan:.2f} s",
            f"{one.makespan / one.bound:.2f}",
            f"{one.makespan / one.predicted:.2f}",
            f"{one.median:.2f} s",
            f"{one.origin:.2f} copies",
            f"{one.uplink:.2f} copies",
            f"{one.cpu:.2f} s/GB",
        )
    return laid


@click.command()
@click.option("--nodes", default=16, show_default=True)
@click.option("--rate", default=100.0, show_default=True, help="Of each link, Mbit/s each way.")
@click.option("--uplink", default=50.0, show_default=True, help="Between zones, Mbit/s each way.")
@click.option("--size", default=CHUNKS, show_default=True, help="Of the blob, MiB; 256 are 256 chunks.")
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Repeatable; else all.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Where figures go.")
def main(
    nodes: int, rate: float, uplink: float, size: int, only: tuple[str, ...], output: Path | None
) -> None:
    """Pull one blob everywhere at once over shaped links."""
    directory = Path(tempfile.mkdtemp(prefix="remora-fabric-"))
    outcomes: list[Outcome] = []
    console = Console(width=160 if not os.isatty(1) else None)
    try:
        layout = OciLayout(directory / "layout")
        # A byte less than so many MiB: from 256 MiB on chunks are 4 MiB.
        blob = layout.layer("large", size * MIB - 1, seed=5)
        for name in only or SCENARIOS:
            zones, scenario = SCENARIOS[name]
            setting = Setting(directory / name, nodes, rate, uplink, size * MIB)
            with staged(setting, zones, blob, layout) as stage:
                outcomes.append(scenario(stage))
            console.print(table(outcomes[-1:]))
    finally:
        kill_all()
        shutil.rmtree(directory, ignore_errors=True)
    console.print(table(outcomes))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps([asdict(one) for one in outcomes], indent=2) + "\n")


if __name__ == "__main__":
    main()
