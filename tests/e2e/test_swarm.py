"""Nodes as a swarm: what the origin is asked for, and what becomes of pulls when parts of it die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.images import MIB
from tests.support.nodes import Node, Tracker, get, pull_blob, pull_image, swarm
from tests.support.processes import wait_until
from tests.support.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

CHUNK = 4 * MIB
"""Chunk size of a 1 GiB blob."""

REPOSITORY = f"{UPSTREAM}/app"


@pytest.fixture
def tracker(directory: Path) -> Iterator[Tracker]:
    with Tracker(directory) as process:
        yield process


def pull_everywhere(nodes: list[Node], tag: str) -> list[str]:
    """Pull an image through every node at once; every byte is checked."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node: pull_image(node.registry, REPOSITORY, tag), nodes))


def test_four_cold_nodes_read_one_copy_of_a_gib(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    image = gallery["big"]
    (layer,) = (b for b in image.blobs if b.diff_id)
    with swarm(directory, names(4), upstreams={UPSTREAM: origin.address}, tracker=tracker.url) as nodes:
        origin.traffic()

        assert pull_everywhere(nodes, "big") == [image.digest] * 4

        traffic = origin.traffic()
        assert abs(traffic.egress(layer.digest) - layer.size) <= CHUNK, traffic.egress(layer.digest)
        assert traffic.gets(image.digest) == 1
        received = [(node.received("origin"), node.received("peers")) for node in nodes]
        assert sum(origin_bytes for origin_bytes, _ in received) <= image.size + CHUNK, received
        # What is in every store is whole: served again, from the disk alone, it is right again.
        before = [node.received() for node in nodes]
        for node in nodes:
            pull_blob(node.registry, REPOSITORY, layer.digest)
        assert [node.received() for node in nodes] == before


def test_small_ranges_of_a_cold_gib_do_not_wait_for_it(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    """What a lazy reader asks for: an index at the end, pieces anywhere, several at once."""
    (layer,) = (b for b in gallery["big"].blobs if b.diff_id)
    path = f"/v2/{REPOSITORY}/blobs/{layer.digest}"
    asked = ("bytes=-51", "bytes=900000000-900099999", "bytes=5-9,500000000-500000999", "bytes=0-0")
    with (
        Throttle(origin.address, rate=8 * MIB) as link,
        swarm(directory, names(1), upstreams={UPSTREAM: link.address}) as (node,),
    ):
        get(node.registry, path, method="HEAD")
        begin = time.perf_counter()
        for one in asked:
            answer = get(node.registry, path, headers={"Range": one})
            there = get(origin.address, f"/v2/app/blobs/{layer.digest}", headers={"Range": one})
            assert answer.status == 206
            if "," not in one:
                assert answer.headers["content-range"] == there.headers["content-range"]
                assert answer.body == there.body
            else:
                assert len(answer.body) > 1005
        assert time.perf_counter() - begin < 10, "the whole takes two minutes"
        assert node.metric("remora_lazy_bytes_total") == 51 + 100_000 + 1005 + 1
        assert link.sent < 2 * MIB


def test_small_layers_and_manifests_are_asked_for_once(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    with swarm(directory, names(4), upstreams={UPSTREAM: origin.address}, tracker=tracker.url) as nodes:
        origin.traffic()

        for tag in ("many", "multi"):
            assert pull_everywhere(nodes, tag) == [gallery[tag].digest] * 4

        asked = origin.traffic()
    wanted = {
        content.digest
        for tag in ("many", "multi")
        for content in (*gallery[tag].manifests, *gallery[tag].blobs, gallery[tag].top)
    }
    assert asked.get_counts() == dict.fromkeys(wanted, 1)
    # Without max_age those share a request who asked before it began: how many that are is chance.
    assert asked.heads("many") <= 4
    assert asked.heads("multi") <= 4


def test_a_killed_seeder_stops_nobody(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    image = gallery["big"]
    with (
        Throttle(origin.address) as slow,
        swarm(directory, names(4), upstreams={UPSTREAM: slow.address}, tracker=tracker.url) as nodes,
    ):
        seeder, *others = nodes
        pull_image(seeder.registry, REPOSITORY, "big")
        with ThreadPoolExecutor(len(others)) as pool:
            pulls = [pool.submit(pull_image, node.registry, REPOSITORY, "big") for node in others]
            wait_until("bytes from the seeder", lambda: any(n.received("peers") > 64 * MIB for n in others))
            seeder.kill()
            assert [pull.result() for pull in pulls] == [image.digest] * 3

        seeder.start()
        assert pull_image(seeder.registry, REPOSITORY, "big") == image.digest
        assert seeder.received() <= 0.05 * image.size


def test_a_killed_lease_holder_stops_nobody_and_keeps_its_chunks(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    image = gallery["big"]
    with (
        Throttle(origin.address, rate=120 * MIB) as slow,
        swarm(directory, names(4), upstreams={UPSTREAM: slow.address}, tracker=tracker.url) as nodes,
    ):
        origin.traffic()
        with ThreadPoolExecutor(len(nodes)) as pool:
            pulls = {node: pool.submit(download_all, node) for node in nodes}
            holder = wait_until(
                "a lease holder with half of the blob",
                lambda: next((n for n in nodes if n.received("origin") > image.size / 2), None),
                timeout=60,
            )
            # The manifest and the configuration are chunks too, of another size.
            verified = (int(holder.metric("remora_chunks_verified_total")) - 2) * CHUNK
            assert verified > 0.4 * image.size
            holder.kill()
            slow.rate = 0
            for node, pull in pulls.items():
                if node is not holder:
                    assert pull.result() == image.digest
            with pytest.raises((AssertionError, OSError)):
                pulls[holder].result()

        holder.start()
        assert pull_image(holder.registry, REPOSITORY, "big") == image.digest
        assert holder.received() <= image.size - 0.95 * verified + CHUNK
        # A new holder goes on where the union of the chunks ends: the origin gave little twice.
        assert origin.traffic().copies(image.blobs) < 1.5


def test_the_origin_dies_after_one_node_has_the_image(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    with (
        Throttle(origin.address) as upstream,
        swarm(directory, names(4), upstreams={UPSTREAM: upstream.address}, tracker=tracker.url) as nodes,
    ):
        for tag in ("many", "multi", "single"):
            pull_image(nodes[0].registry, REPOSITORY, tag)
        upstream.cut()

        for tag in ("many", "multi", "single"):
            assert pull_everywhere(nodes, tag) == [gallery[tag].digest] * 4
        assert all(node.received("origin") == 0 for node in nodes[1:])


def test_without_a_tracker_static_peers_and_the_origin_are_enough(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    upstreams = {UPSTREAM: origin.address}
    with (
        Node("node-0", directory, upstreams=upstreams) as first,
        Node("node-1", directory, upstreams=upstreams, peers=[first.peer]) as second,
        Node("node-2", directory, upstreams=upstreams, peers=[first.peer, second.peer]) as third,
    ):
        nodes = [first, second, third]
        pull_image(first.registry, REPOSITORY, "many")
        origin.traffic()

        assert pull_everywhere(nodes, "many") == [gallery["many"].digest] * 3
        # On a busy machine a node may lose patience with a peer; most comes from peers all the same.
        assert origin.traffic().copies(gallery["many"].blobs) < 1
        assert second.received("peers") > 0
        assert third.received("peers") > 0

        # Cold and at once, nobody coordinates: still far from one copy for each.
        assert pull_everywhere(nodes, "single") == [gallery["single"].digest] * 3


def test_a_tracker_that_never_answers_delays_no_pull(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    with swarm(
        directory, names(2), upstreams={UPSTREAM: origin.address}, tracker="ws://127.0.0.1:1"
    ) as nodes:
        assert pull_everywhere(nodes, "many") == [gallery["many"].digest] * 2


def test_a_restarted_tracker_learns_everything_again(
    directory: Path, origin: DockerRegistry, gallery: Gallery, tracker: Tracker
) -> None:
    address = str(tracker.ready["listen"])
    with swarm(directory, names(3), upstreams={UPSTREAM: origin.address}, tracker=tracker.url) as nodes:
        pull_image(nodes[0].registry, REPOSITORY, "single")
        tracker.kill()
        assert pull_everywhere(nodes, "many") == [gallery["many"].digest] * 3
        origin.traffic()

        with Tracker(directory, name="tracker-again", listen=address):
            for node in nodes:
                back = partial(node.metric, "remora_discovery_connected", route="tracker")
                wait_until(f"{node.name} back at the tracker", back, timeout=10)
            assert pull_everywhere(nodes, "single") == [gallery["single"].digest] * 3
            assert origin.traffic().egress() == 0


def names(count: int) -> list[str]:
    return [f"node-{n}" for n in range(count)]


def download_all(node: Node) -> str:
    return pull_image(node.registry, REPOSITORY, "big")
