"""Nodes that find each other by the DHT alone: no tracker, no peers by name, one node to begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from p2p.discovery.dht.keyring import new_key
from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.nodes import Node, Tracker, pull_image
from tests.support.processes import wait_until
from tests.support.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

REPOSITORY = f"{UPSTREAM}/app"
COUNT = 5


@contextmanager
def by_dht(directory: Path, upstream: str, *, tracker: str = "") -> Iterator[list[Node]]:
    """Start nodes under one cluster key, the first of which all others know."""
    key = directory / "cluster-key"
    key.write_text(f"{new_key()}\n")
    os.chmod(key, 0o600)  # noqa: PTH101
    nodes: list[Node] = []
    with ExitStack() as stack:
        for number in range(COUNT):
            options = ["--cluster-key-file", str(key)]
            if nodes:
                options += ["--bootstrap", nodes[0].peer]
            node = Node(
                f"node-{number}", directory, upstreams={UPSTREAM: upstream}, tracker=tracker, options=options
            )
            nodes.append(stack.enter_context(node))
        for node in nodes:
            wait_until(
                f"{node.name} in the DHT", lambda node=node: node.metric("remora_dht_contacts") >= COUNT - 1
            )
        yield nodes


def knows_all(node: Node) -> bool:
    return node.metric("remora_dht_contacts") >= COUNT - 1


def everything_is_put(node: Node) -> bool:
    """Whether each complete blob of a node was taken by some other one."""
    return node.metric("remora_dht_puts_total", outcome="stored") >= node.metric("remora_store_blobs") > 0


def pull_all(nodes: list[Node], tag: str) -> list[str]:
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node: pull_image(node.registry, REPOSITORY, tag), nodes))


def test_by_the_dht_alone_all_complete_with_the_origin_down(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    with Throttle(origin.address) as upstream, by_dht(directory, upstream.address) as nodes:
        first, *others = nodes
        for tag in ("many", "single"):
            pull_image(first.registry, REPOSITORY, tag)
        wait_until("the first node's records in the DHT", lambda: everything_is_put(first))
        upstream.cut()

        for tag in ("many", "single"):
            assert pull_all(others, tag) == [gallery[tag].digest] * len(others)
        assert all(node.received("origin") == 0 for node in others)
        for node in nodes:
            assert node.status()["discovery"]["dht"] is True
            assert node.metric("remora_dht_dropped_datagrams_total", reason="forged") == 0


def test_by_the_tracker_alone_and_by_the_dht_when_it_is_gone(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    with (
        Throttle(origin.address) as upstream,
        Tracker(directory) as tracker,
        by_dht(directory, upstream.address, tracker=tracker.url) as nodes,
    ):
        first, *others = nodes
        pull_image(first.registry, REPOSITORY, "many")
        wait_until("the first node's records in the DHT", lambda: everything_is_put(first))
        upstream.cut()
        assert pull_all(others[:2], "many") == [gallery["many"].digest] * 2
        tracker.kill()
        assert pull_all(others[2:], "many") == [gallery["many"].digest] * (COUNT - 3)
