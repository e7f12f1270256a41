"""What is measured. Each scenario takes the rig and yields figures; README.md explains each."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from bench.figures import GB, MB, Aim, Figure, Target, latency, ratio
from bench.rig import CurlRun, curl, first_byte, settle, touch_memory
from tests.support.nodes import Node, Tracker
from tests.support.processes import wait_until
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from bench.rig import Rig

NODES = 8
SEEDERS = 3


def warm(rig: Rig) -> Iterator[Figure]:
    """A blob that the node has, to curl, against nginx with sendfile."""
    ours, theirs = [], []
    with rig.node() as node:
        idle = node.resident()
        url = f"http://{node.registry}{rig.path}"
        curl(url, expected=rig.blob.size)
        curl(rig.nginx_url, expected=rig.blob.size)
        settle()
        begun = node.cpu_seconds()
        for _ in range(rig.repetitions + 2):
            ours.append(curl(url, expected=rig.blob.size).rate)
            theirs.append(curl(rig.nginx_url, expected=rig.blob.size).rate)
        cpu = (node.cpu_seconds() - begun) / (len(ours) * rig.blob.size / GB)
        loaded = node.resident()
    yield ratio(
        "warm blob to curl, against nginx with sendfile",
        ours,
        theirs,
        Target(Aim.AT_LEAST, 0.9),
        labels=("node", "nginx"),
    )
    yield Figure("CPU to send a warm blob", cpu, "s/GB", "user and system time of the node", {"node": [cpu]})
    yield _memory("memory, idle", idle, Target(Aim.AT_MOST, 80), "resident after start")
    yield _memory("memory, after a cold pull and warm ones", loaded, None, "resident")


def cold(rig: Rig) -> Iterator[Figure]:
    """Origin → node → curl, against docker-registry as a pull-through proxy."""
    ours, theirs, cpu = [], [], []
    for turn in range(rig.repetitions):
        settle()
        with rig.node() as node:
            rig.warm_up(node.registry)
            touch_memory(rig.directory, 2 * rig.blob.size)
            begun = node.cpu_seconds()
            ours.append(curl(f"http://{node.registry}{rig.path}", expected=rig.blob.size).rate)
            cpu.append((node.cpu_seconds() - begun) / (rig.blob.size / GB))
        settle()
        proxy = DockerRegistry(rig.directory, name=f"proxy-{turn}", remote=rig.origin.address)
        with proxy:
            rig.warm_up(proxy.address)
            touch_memory(rig.directory, 2 * rig.blob.size)
            theirs.append(curl(f"http://{proxy.address}{rig.path}", expected=rig.blob.size).rate)
        shutil.rmtree(proxy.root)
    yield ratio(
        "cold blob to curl, against docker-registry as pull-through",
        ours,
        theirs,
        Target(Aim.AT_LEAST, 1.0),
        labels=("node", "docker-registry"),
    )
    yield Figure(
        "CPU to receive from the origin, verify, write and send",
        statistics.median(cpu),
        "s/GB",
        "user and system time of the node",
        {"node": cpu},
    )


def from_seeders(rig: Rig) -> Iterator[Figure]:
    """One node from three seeders to its disk, against curl from nginx to a file on that disk."""
    ours, theirs, receiver, senders, strayed = [], [], [], [], []
    file = rig.directory / "curl.file"
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker(rig.directory, name="tracker-seeders"))
        seeders = [stack.enter_context(rig.node(tracker=tracker.url)) for _ in range(SEEDERS)]
        for seeder in seeders:
            curl(f"http://{seeder.registry}{rig.path}", expected=rig.blob.size)
            rig.warm_up(seeder.registry)
        for turn in range(rig.repetitions + 1):
            with rig.node(tracker=tracker.url) as node:
                rig.warm_up(node.registry)
                settle()
                touch_memory(rig.directory, 2 * rig.blob.size)
                stray = -node.received("origin")
                before = [s.cpu_seconds() for s in seeders]
                begun_cpu, begun = node.cpu_seconds(), time.perf_counter()
                # The last byte is withheld until every link holds, so it comes when all was written, as
                # curl has written its file then. (What the node does after, fdatasync, curl never does.)
                curl(f"http://{node.registry}{rig.path}", expected=1, span=f"{rig.blob.size - 1}-")
                elapsed = time.perf_counter() - begun
                used = node.cpu_seconds() - begun_cpu
                wait_until("the whole blob", partial(_complete, node, rig.blob.size + rig.warmer.size))
                stray += node.received("origin")
                given = sum(s.cpu_seconds() - b for s, b in zip(seeders, before, strict=True))
            settle()
            touch_memory(rig.directory, 2 * rig.blob.size)
            rate = curl(rig.nginx_url, expected=rig.blob.size, output=file).rate
            file.unlink()
            if turn:  # the first turn warms up: freshly touched memory is slow on virtual machines
                ours.append(rig.blob.size / elapsed)
                theirs.append(rate)
                receiver.append(used / (rig.blob.size / GB))
                senders.append(given / (rig.blob.size / GB))
                strayed.append(float(stray))
    yield ratio(
        "from three seeders to disk, against curl from nginx to a file",
        ours,
        theirs,
        Target(Aim.AT_LEAST, 0.9),
        labels=("node", "curl"),
    )
    yield Figure(
        "of that, from the origin",
        max(strayed) / MB,
        "MB",
        "the worst repetition",
        {"origin": strayed},
        Target(Aim.AT_MOST, 0),
    )
    yield Figure(
        "CPU to receive from peers, verify and write",
        statistics.median(receiver),
        "s/GB",
        "user and system time of the receiver",
        {"receiver": receiver},
        Target(Aim.AT_MOST, 1.2),
    )
    yield Figure(
        "CPU to send to peers",
        statistics.median(senders),
        "s/GB",
        f"user and system time of {SEEDERS} seeders",
        {"seeders": senders},
    )


def _complete(node: Node, size: int) -> bool:
    return node.metric("remora_store_bytes") >= size


def swarm(rig: Rig) -> Iterator[Figure]:
    """Eight nodes cold at once, against eight curls from the origin to files at once."""
    makespans, baseline, copies, single = [], [], [], []
    for _ in range(max(1, rig.repetitions - 1)):
        settle()
        with ExitStack() as stack:
            tracker = stack.enter_context(Tracker(rig.directory))
            nodes = [stack.enter_context(rig.node(tracker=tracker.url)) for _ in range(NODES)]
            for node in nodes:
                rig.warm_up(node.registry)
            settle()
            rig.origin.traffic()
            runs = [CurlRun(f"http://{node.registry}{rig.path}") for node in nodes]
            times = [run.result(rig.blob.size).seconds for run in runs]
            copies.append(rig.origin.traffic().copies([rig.blob]))
        makespans.append(max(times))
        single += times
        settle()
        files = [rig.directory / f"curl-{n}.file" for n in range(NODES)]
        runs = [CurlRun(f"http://{rig.origin.address}{rig.path}", output=file) for file in files]
        baseline.append(max(run.result(rig.blob.size).seconds for run in runs))
        for file in files:
            file.unlink()
    value = statistics.median(makespans)
    yield Figure(
        f"{NODES} nodes cold at once: time until the last has all",
        value,
        "s",
        f"nodes {min(single):.1f}–{max(single):.1f} s, median {statistics.median(single):.1f} s; "
        f"together {NODES * rig.blob.size / value / MB:,.0f} MB/s; "
        f"{NODES} curls from the origin to files {statistics.median(baseline):.1f} s",
        {"makespan": makespans, "nodes": single, "curls": baseline},
    )
    yield Figure(
        f"{NODES} nodes cold at once: origin egress",
        max(copies),
        "copies",
        "counted by the origin; the worst repetition",
        {"copies": copies},
        Target(Aim.AT_MOST, round(1 + 4 * 1024**2 / rig.blob.size, 3)),
    )


def first_bytes(rig: Rig) -> Iterator[Figure]:
    """Seconds to the first byte of small blobs: warm, through a peer, cold."""
    count = rig.samples
    ones = rig.small_blobs(min(count, 256), 1, seed=0)
    small = rig.small_blobs(count, 65536, seed=1 << 20)

    def path(digest: str) -> str:
        return f"/v2/app/blobs/{digest}"

    with (
        Tracker(rig.directory, name="tracker-latency") as tracker,
        rig.node(tracker=tracker.url) as seeder,
        rig.node(tracker=tracker.url) as node,
    ):
        for blob in small:
            first_byte(seeder.registry, path(blob.digest))
        # A first request on each: connections, caches and code are in place as on a node that runs.
        first_byte(node.registry, path(small[0].digest))
        first_byte(rig.origin.address, path(small[0].digest))
        cold_times, cold_direct = [], []
        for blob in ones:
            cold_times.append(first_byte(node.registry, path(blob.digest)))
            cold_direct.append(first_byte(rig.origin.address, path(blob.digest)))
        peer_times, peer_direct = [], []
        for blob in small[1:]:
            peer_times.append(first_byte(node.registry, path(blob.digest)))
            peer_direct.append(first_byte(seeder.registry, path(blob.digest)))
        came = node.received("peers")
        warm_times, warm_nginx = [], []
        for blob in small:
            warm_times.append(first_byte(node.registry, path(blob.digest)))
            file = blob.digest.removeprefix("sha256:")
            warm_nginx.append(first_byte(rig.nginx.address, f"/files/{file}"))
    assert came >= sum(b.size for b in small[1:]), "not all came from the peer"
    yield latency("first byte, warm", warm_times, warm_nginx, Target(Aim.AT_MOST, 3), baseline="nginx")
    yield latency(
        "first byte, through a peer",
        peer_times,
        peer_direct,
        Target(Aim.AT_MOST, 20),
        baseline="that peer itself",
    )
    yield latency(
        "first byte, cold 1-byte blob",
        cold_times,
        cold_direct,
        Target(Aim.AT_MOST, 50),
        baseline="the origin itself",
    )


def _memory(name: str, resident: int, target: Target | None, detail: str) -> Figure:
    return Figure(name, resident / MB, "MB", detail, {"node": [resident]}, target)


SCENARIOS: dict[str, Callable[[Rig], Iterator[Figure]]] = {
    "warm": warm,
    "cold": cold,
    "seeders": from_seeders,
    "swarm": swarm,
    "latency": first_bytes,
}
