"""The demo's processes, and what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio

from p2p.cli.admin import read_answer
from p2p.cli.progress import Silence
from p2p.errors import RemoteError
from p2p.toolkit.image import ImageClient, ImageName
from p2p.toolkit.pulling import STREAMS, HashSink, fill

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.cli.children import Child, Children
    from p2p.cli.demo_image import DemoImage
    from p2p.core.oci.descriptor import Descriptor

REPOSITORY: Final = "demo"
TAG: Final = "1"
UPSTREAM: Final = "origin"
_ANY: Final = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Network:
    """All that runs."""

    origin: Child
    tracker: Child
    nodes: tuple[Child, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What one node did: bytes by source, and the seconds that its pull took."""

    name: str
    peers: int
    origin: int
    seconds: float


async def start_network(children: Children, root: Path, images: Path, count: int) -> Network:
    """Start an origin that hosts the layout ``images``, a tracker, and ``count`` nodes."""
    # What is on this host otherwise (a configuration, a nearly full disk) is not the demo's business.
    config = root / "node.toml"
    config.write_text('log_format = "json"\n[store]\nminimum_free = 0.0\n')
    common = (
        "--config",
        str(config),
        "--registry-listen",
        _ANY,
        "--peer-listen",
        _ANY,
        "--metrics-listen",
        _ANY,
    )
    found: dict[str, Child] = {}

    async def node(name: str, *arguments: str) -> None:
        state = ("--name", name, "--state", str(root / name))
        found[name] = await children.start(name, ("node", *common, *state, *arguments))

    async def tracker() -> None:
        found["tracker"] = await children.start("tracker", ("tracker", "--listen", _ANY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node, "origin", "--host", str(images))
        nursery.start_soon(tracker)
    upstream = f"{UPSTREAM}=http://{found['origin'].ready['registry']}"
    url = f"ws://{found['tracker'].ready['listen']}"
    names = [f"node-{number}" for number in range(1, count + 1)]
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(node, name, "--upstream", upstream, "--tracker", url)
    return Network(found["origin"], found["tracker"], tuple(found[name] for name in names))


async def pull(node: Child, image: DemoImage) -> float:
    """Pull the image through a node as a runtime would and verify every blob; gives the seconds it took."""
    begun = trio.current_time()
    limit = trio.CapacityLimiter(STREAMS)

    async with httpx.AsyncClient(
        base_url=f"http://{node.ready['registry']}", timeout=60.0, trust_env=False
    ) as http:
        client = ImageClient(http, ImageName.parse(f"{UPSTREAM}/{REPOSITORY}:{TAG}"))

        async def get(blob: Descriptor) -> None:
            async with limit:
                await fill(client, blob, HashSink(blob), Silence())

        index = await client.manifest(TAG)
        if index.descriptor.digest != image.index.digest:
            raise RemoteError(
                node.name,
                f"its tag {TAG} is {index.descriptor.digest}, and the image is {image.index.digest}",
            )
        async with trio.open_nursery() as nursery:
            for child in index.manifest.children:
                fetched = await client.manifest(str(child.digest), child)
                for blob in fetched.manifest.children:
                    nursery.start_soon(get, blob)
    return trio.current_time() - begun


async def pull_everywhere(network: Network, image: DemoImage) -> tuple[Row, ...]:
    """Pull on all nodes at once, then ask each where its bytes came from."""
    seconds: dict[str, float] = {}

    async def one(node: Child) -> None:
        seconds[node.name] = await pull(node, image)

    async with trio.open_nursery() as nursery:
        for node in network.nodes:
            nursery.start_soon(one, node)
    rows: list[Row] = []
    for node in network.nodes:
        status = await node_status(node)
        transfer = status["transfer"]
        rows.append(
            Row(node.name, transfer["received_peers"], transfer["received_origin"], seconds[node.name])
        )
    return tuple(rows)


async def node_status(node: Child) -> dict[str, Any]:
    """Ask a node's admin socket for its status."""
    transport = httpx.AsyncHTTPTransport(uds=node.ready["admin"])
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=10.0) as http:
        return read_answer(await http.get("/status"), node.name)


async def sent_to_clients(origin: Child) -> float:
    """Ask the origin's metrics for the bytes of blobs and manifests that it gave to clients."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        response = await http.get(f"http://{origin.ready['metrics']}/metrics")
    return sum_metric(response.text, "remora_sent_bytes_total", 'to="clients"')


def sum_metric(text: str, name: str, label: str = "") -> float:
    """Sum a metric's samples out of Prometheus' text format; ``label`` as in ``to="clients"``."""
    total = 0.0
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and label in sample:
            total += float(value)
    return total
