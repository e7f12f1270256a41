"""Rate limits with real nodes: each holds within 5 %, with what was saved up for a burst taken off."""

from __future__ import annotations

import hashlib
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from p2p.transfer.limits import BURST_SECONDS
from tests.e2e.conftest import UPSTREAM
from tests.support.images import MIB, Content, OciLayout
from tests.support.nodes import REMORA, Node, Tracker, pull_image
from tests.support.processes import Process, wait_until
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = f"{UPSTREAM}/app"
UP, DOWN, ORIGIN, PREFETCH = 24_000_000, 12_000_000, 13_000_000, 11_000_000
SIZE = 48 * MIB


class World:
    """An origin with three images of one layer each, a tracker, and a node for each limit."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        layout = OciLayout(directory / "layout")
        self.layers = [layout.layer(f"layer-{n}", SIZE, seed=100 + n) for n in range(3)]
        self.origin = stack.enter_context(DockerRegistry(directory))
        for number, layer in enumerate(self.layers):
            self.origin.push("app", layout.image([layer], tag=f"v{number}"), f"v{number}")
        self.tracker = stack.enter_context(Tracker(directory))
        limits: dict[str, list[str]] = {
            "up": ["--limit-up", "24MB/s"],
            "down": ["--limit-down", "12MB/s"],
            "origin": ["--limit-origin", "13MB/s"],
            "prefetch": ["--limit-prefetch", "11MB/s"],
            "one": [],
            "two": [],
        }
        self.nodes = {name: self._node(name, options) for name, options in limits.items()}
        for node in self.nodes.values():
            stack.callback(node.stop)
            node.launch()
        for node in self.nodes.values():
            node.wait_ready()

    def _node(self, name: str, options: list[str]) -> Node:
        upstreams = {UPSTREAM: self.origin.address}
        return Node(name, self.directory, upstreams=upstreams, tracker=self.tracker.url, options=options)

    def pull(self, name: str, layer: Content) -> tuple[float, float]:
        """Pull a layer as a client does; gives when its first byte came, and its last one."""
        connection = http.client.HTTPConnection(self.nodes[name].registry, timeout=60)
        connection.request("GET", f"/v2/{REPOSITORY}/blobs/{layer.digest}")
        response = connection.getresponse()
        hasher = hashlib.sha256(response.read(1))
        first = time.perf_counter()
        while part := response.read(MIB):
            hasher.update(part)
        connection.close()
        assert f"sha256:{hasher.hexdigest()}" == layer.digest
        return first, time.perf_counter()

    def prefetch(self, tag: str) -> Process:
        """Start a prefetch by the node of that name."""
        argv = [*REMORA, "prefetch", f"{REPOSITORY}:{tag}", "--tracker", self.tracker.url]
        command = Process(f"prefetch-{tag}", [*argv, "--nodes", "prefetch", "--json"], self.directory)
        command.launch()
        return command


@pytest.fixture(scope="module")
def world(session_directory: Path) -> Iterator[World]:
    with ExitStack() as stack:
        directory = session_directory / "limits"
        directory.mkdir()
        yield World(directory, stack)


def check(size: float, seconds: float, limit: int) -> None:
    """Hold the rate of a transfer against its limit, the burst taken off."""
    rate = (size - limit * BURST_SECONDS) / seconds
    assert 0.95 <= rate / limit <= 1.05, f"{rate / limit:.3f} of the limit ({seconds:.2f} s)"


def waited(node: Node) -> dict[str, Any]:
    """What the node says of its limits, by name."""
    return {one["limit"]: one for one in node.status()["transfer"]["limits"]}


def test_up_is_what_peers_get_together_and_clients_get_more(world: World) -> None:
    seeder = world.nodes["up"]
    for layer in world.layers[:2]:
        world.pull("up", layer)
    with ThreadPoolExecutor(2) as pool:
        (one, one_end), (two, two_end) = pool.map(world.pull, ("one", "two"), world.layers)

    sent = seeder.metric("remora_sent_bytes_total", to="peers")
    assert sent >= 2 * SIZE
    assert world.nodes["one"].received("origin") == world.nodes["two"].received("origin") == 0
    check(sent, max(one_end, two_end) - min(one, two), UP)
    assert waited(seeder)["up"]["waited_seconds"] > 1
    assert seeder.metric("remora_limit_waited_seconds_total", limit="up") > 1
    begin = time.perf_counter()
    assert world.pull("up", world.layers[0])[1] - begin < SIZE / UP / 2, (
        "clients of the registry are never limited"
    )


def test_down_is_what_comes_from_peers(world: World) -> None:
    node = world.nodes["down"]
    first, last = world.pull("down", world.layers[0])

    assert node.received("origin") == 0
    check(node.received("peers"), last - first, DOWN)
    # It has slowed itself down: nobody was slow, and nobody was asked twice.
    assert node.metric("remora_hedges_total") == 0


def test_origin(world: World) -> None:
    first, last = world.pull("origin", world.layers[2])

    node = world.nodes["origin"]
    check(node.received("origin"), last - first, ORIGIN)
    assert list(waited(node)) == ["origin"]
    assert world.origin.traffic().egress(world.layers[2].digest) == world.layers[2].size


def test_prefetch_is_limited_until_a_client_wants_the_same(world: World) -> None:
    node = world.nodes["prefetch"]
    command = world.prefetch("v0")
    wait_until("the layer's download", lambda: node.metric("remora_swarms") and layer_under_way(node))
    begin = time.perf_counter()
    wait_until("its end", lambda: node.received() >= world.layers[0].size)
    seconds = time.perf_counter() - begin
    assert command.wait(30) == 0
    check(node.received(), seconds, PREFETCH)

    before = node.received()
    command = world.prefetch("v2")
    wait_until("some of the layer", lambda: node.received() > before + MIB)
    # A client comes: what is missing takes no quarter of the time that a prefetch would.
    begin = time.perf_counter()
    assert world.pull("prefetch", world.layers[2])[1] - begin < SIZE / PREFETCH / 4
    assert command.wait(30) == 0
    pull_image(node.registry, REPOSITORY, "v2")


def layer_under_way(node: Node) -> bool:
    """Whether a large download is under way."""
    return any(one["size"] >= SIZE for one in node.status()["swarms"])
