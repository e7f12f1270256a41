"""Real clients pull through a node from a real docker-registry; what they store is what the origin has.

``pytest tests/e2e/test_clients.py --direct`` points them at the docker-registry itself, which proves the
tests' own assumptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.clients import Containerd, Dockerd, Podman, layout_digest, skopeo_copy
from tests.support.nodes import Node, get

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

TAGS = ("single", "multi", "empty", "many", "big")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the clients pull from: the node, or with ``--direct`` the origin."""

    address: str
    node: Node | None

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]


@pytest.fixture(scope="module")
def endpoint(
    origin: DockerRegistry, session_directory: Path, request: pytest.FixtureRequest
) -> Iterator[Endpoint]:
    """One node for all clients, whose default upstream poses as Docker Hub."""
    origin.traffic()
    if request.config.getoption("--direct"):
        yield Endpoint(origin.address, None)
        return
    with Node("clients", session_directory, upstreams={UPSTREAM: origin.address}) as node:
        yield Endpoint(node.registry, node)


@pytest.fixture(scope="module")
def dockerd(endpoint: Endpoint, session_directory: Path) -> Iterator[Dockerd]:
    with Dockerd(session_directory, mirrors=(endpoint.address,)) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def containerd(endpoint: Endpoint, session_directory: Path) -> Iterator[Containerd]:
    with Containerd(session_directory) as daemon:
        daemon.mirror(UPSTREAM, endpoint.address)
        yield daemon


@pytest.fixture(scope="module")
def podman(endpoint: Endpoint, session_directory: Path) -> Podman:
    return Podman(session_directory, mirrors={UPSTREAM: f"{endpoint.address}/{UPSTREAM}"})


@pytest.mark.parametrize("tag", TAGS)
def test_docker_pull_by_prefix(tag: str, endpoint: Endpoint, dockerd: Dockerd, gallery: Gallery) -> None:
    image = f"localhost:{endpoint.port}/{UPSTREAM}/app:{tag}"

    assert dockerd.pull(image) == gallery[tag].digest

    if tag != "multi":
        # dockerd hashed what it unpacked: the very bytes of each layer arrived.
        expected = [b.diff_id for b in gallery[tag].blobs if b.diff_id]
        assert dockerd.diff_ids(image) == expected
    dockerd.remove(image)


def test_docker_pulls_another_architecture(endpoint: Endpoint, dockerd: Dockerd, gallery: Gallery) -> None:
    image = f"localhost:{endpoint.port}/{UPSTREAM}/app:multi"

    assert dockerd.pull(image, platform="linux/arm64") == gallery["multi"].digest

    dockerd.remove(image)


def test_docker_pulls_schema_2(endpoint: Endpoint, dockerd: Dockerd, origin: DockerRegistry) -> None:
    expected = get(origin.address, "/v2/app/manifests/docker", method="HEAD", headers=_SCHEMA_2)

    pulled = dockerd.pull(f"localhost:{endpoint.port}/{UPSTREAM}/app:docker")

    assert pulled == expected.headers["docker-content-digest"]


@pytest.mark.parametrize("tag", ["multi", "many"])
def test_docker_pull_through_its_registry_mirror(
    tag: str, endpoint: Endpoint, dockerd: Dockerd, gallery: Gallery
) -> None:
    # ``docker pull app`` is docker.io/library/app, which dockerd asks its mirror for without ``ns``.
    assert dockerd.pull(f"app:{tag}") == gallery[tag].digest

    dockerd.remove(f"app:{tag}")


@pytest.mark.parametrize("tag", TAGS)
def test_ctr_pull_with_hosts_dir(tag: str, containerd: Containerd, gallery: Gallery) -> None:
    image = f"{UPSTREAM}/app:{tag}"

    assert containerd.pull(image, all_platforms=tag == "multi") == gallery[tag].digest

    wanted = {c.digest for c in (gallery[tag].top, *gallery[tag].manifests, *gallery[tag].blobs)}
    assert wanted <= containerd.digests()
    containerd.remove(image)


@pytest.mark.parametrize("tag", TAGS)
def test_podman_pull_through_a_mirror(tag: str, podman: Podman, gallery: Gallery) -> None:
    image = f"{UPSTREAM}/app:{tag}"

    podman.pull(image)

    assert f"{UPSTREAM}/app@{gallery[tag].digest}" in podman.inspect(image)["RepoDigests"]
    podman.remove(image)


@pytest.mark.parametrize("tag", TAGS)
def test_skopeo_copy(tag: str, endpoint: Endpoint, gallery: Gallery, directory: Path) -> None:
    source = f"{endpoint.address}/{UPSTREAM}/app:{tag}"

    layout = skopeo_copy(source, directory / "copy", everything=tag == "multi")

    assert layout_digest(layout) == gallery[tag].digest
    blobs = {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir()}
    wanted = (gallery[tag].top, *gallery[tag].manifests, *gallery[tag].blobs)
    assert blobs == {content.digest for content in wanted}
    for content in wanted:
        path = layout / "blobs" / "sha256" / content.digest.removeprefix("sha256:")
        assert path.stat().st_size == content.size


def test_the_origin_sent_each_byte_once_and_only_to_the_node(
    endpoint: Endpoint, origin: DockerRegistry, gallery: Gallery
) -> None:
    """Runs last: seven clients pulled the same images."""
    if endpoint.node is None:
        pytest.skip("--direct: there is no node")
    traffic = origin.traffic()
    strangers = {"docker/", "containerd/", "containers/"}

    assert not {agent for agent in traffic.user_agents if any(agent.startswith(s) for s in strangers)}
    for tag in TAGS:
        image = gallery[tag]
        contents = {c.digest: c for c in (*image.manifests, *image.blobs)}.values()
        counts = {c.digest: traffic.gets(c.digest) for c in contents}
        assert max(counts.values()) <= 1 or tag == "big", counts
        assert traffic.copies(contents) == pytest.approx(1.0, abs=0.005), tag


_SCHEMA_2 = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}


def test_the_node_counts_what_it_received(endpoint: Endpoint) -> None:
    if endpoint.node is None:
        pytest.skip("--direct: there is no node")
    assert endpoint.node.received("origin") > 0
    assert endpoint.node.received("peers") == 0
    assert json.dumps(endpoint.node.status())
