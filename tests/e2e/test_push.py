"""Real clients push to a node; what is pulled back, from it and through another node, is what they had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import oras.client
import oras.oci
import pytest

from tests.support.clients import Buildah, Dockerd, Podman, layout_digest, skopeo_copy, skopeo_push
from tests.support.images import OCI_INDEX, OCI_MANIFEST, Image, OciLayout, small_layers
from tests.support.nodes import Node, get, pull_image
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from pathlib import Path

PATTERN = "team/**"
ZSTD = bytes.fromhex("28b52ffd")


@pytest.fixture(scope="module")
def node(session_directory: Path) -> Iterator[Node]:
    """A node that hosts ``team/**`` and has no upstream of its own."""
    with Node("hosting", session_directory, options=("--hosted", PATTERN)) as process:
        yield process


@pytest.fixture(scope="module")
def layout(session_directory: Path) -> OciLayout:
    return OciLayout(session_directory / "push-layout")


@pytest.fixture(scope="module")
def single(layout: OciLayout) -> Image:
    return layout.image(
        [layout.empty_layer(), *small_layers(layout, 3, 2_000_000, seed=20_000)], tag="single"
    )


@pytest.fixture(scope="module")
def multi(layout: OciLayout, single: Image) -> Image:
    arm64 = layout.image(small_layers(layout, 2, 300_000, seed=21_000), architecture="arm64")
    return layout.index({"amd64": single, "arm64": arm64}, tag="multi")


@pytest.fixture(scope="module")
def source(session_directory: Path, single: Image) -> Iterator[DockerRegistry]:
    """Another registry, where clients get an image to push from."""
    with DockerRegistry(session_directory, name="push-source") as registry:
        registry.push("app", single, "single")
        yield registry


@pytest.fixture(scope="module")
def dockerd(session_directory: Path) -> Iterator[Dockerd]:
    with Dockerd(session_directory, name="pushing-dockerd") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def podman(session_directory: Path, node: Node, source: DockerRegistry) -> Podman:
    # A mirror of itself, so that podman takes plain HTTP from both.
    addresses = (node.registry, source.address)
    return Podman(session_directory / "push", mirrors={address: address for address in addresses})


def test_docker_push_and_pull_back(
    node: Node, source: DockerRegistry, dockerd: Dockerd, single: Image
) -> None:
    there, here = f"{source.address}/app:single", f"{node.registry}/team/docker:1"
    dockerd.pull(there)
    expected = [blob.diff_id for blob in single.blobs if blob.diff_id]

    digest = dockerd.push(there, here)

    assert pull_image(node.registry, "team/docker", "1") == digest
    dockerd.remove(here)
    dockerd.remove(there)
    assert dockerd.pull(here) == digest
    assert dockerd.diff_ids(here) == expected


def test_docker_pushes_again_without_sending_a_layer(
    node: Node, source: DockerRegistry, dockerd: Dockerd
) -> None:
    """Another repository of the same registry: dockerd mounts what it pushed before."""
    there = f"{source.address}/app:single"
    dockerd.pull(there)
    first = dockerd.push(there, f"{node.registry}/team/first:1")

    second = dockerd.push(there, f"{node.registry}/team/second/deep:1")

    assert "Mounted from team/" in dockerd.said
    assert ": Pushed" not in dockerd.said, dockerd.said
    assert second == first
    assert pull_image(node.registry, "team/second/deep", "1") == first


def test_skopeo_copies_all_of_an_index_both_ways(
    node: Node, layout: OciLayout, multi: Image, directory: Path
) -> None:
    target = f"{node.registry}/team/multi:1"

    skopeo_push(layout.root, "multi", target)

    assert pull_image(node.registry, "team/multi", "1") == multi.digest
    back = skopeo_copy(target, directory / "back", everything=True)
    assert layout_digest(back) == multi.digest
    wanted = {content.digest: content.size for content in (multi.top, *multi.manifests, *multi.blobs)}
    assert {f"sha256:{p.name}": p.stat().st_size for p in (back / "blobs/sha256").iterdir()} == wanted


def test_podman_push(node: Node, source: DockerRegistry, podman: Podman) -> None:
    there, here = f"{source.address}/app:single", f"{node.registry}/team/podman:1"
    podman.pull(there)

    digest = podman.push(there, here)

    assert pull_image(node.registry, "team/podman", "1") == digest
    podman.remove(there)
    assert podman.pull(here) == digest


def test_buildah_pushes_zstd(node: Node, podman: Podman, directory: Path) -> None:
    buildah = Buildah(directory)
    (directory / "file").write_bytes(b"compresses well, " * 100_000)
    buildah.build("made", directory / "file")

    digest = buildah.push("made", f"{node.registry}/team/zstd:1", compression="zstd")

    assert pull_image(node.registry, "team/zstd", "1") == digest
    accept = {"Accept": OCI_MANIFEST}
    manifest = json.loads(get(node.registry, "/v2/team/zstd/manifests/1", headers=accept).body)
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert get(node.registry, f"/v2/team/zstd/blobs/{layer['digest']}").body.startswith(ZSTD)
    assert podman.pull(f"{node.registry}/team/zstd:1") == digest


def test_artifacts_with_referrers_by_oras(
    node: Node, layout: OciLayout, single: Image, directory: Path
) -> None:
    skopeo_push(layout.root, "single", f"{node.registry}/team/signed:1")
    client = oras.client.OrasClient(hostname=node.registry, insecure=True)
    subject = oras.oci.Subject(OCI_MANIFEST, single.digest, single.top.size)
    contents = {"sbom.json": b'{"packages":[]}' * 9, "signature.txt": b"signed " * 999}

    for name, content in contents.items():
        (directory / name).write_bytes(content)
        answer = client.push(
            f"{node.registry}/team/signed:{name}",
            files=[f"{directory / name}:application/vnd.example.{name}"],
            disable_path_validation=True,
            manifest_annotations={"name": name},
            subject=subject,
            do_chunked=True,
            chunk_size=1000,
        )
        assert answer.headers["OCI-Subject"] == single.digest

    found = get(node.registry, f"/v2/team/signed/referrers/{single.digest}")
    assert found.headers["content-type"] == OCI_INDEX
    referrers = json.loads(found.body)["manifests"]
    assert {each["annotations"]["name"] for each in referrers} == contents.keys()
    for each in referrers:
        name = each["annotations"]["name"]
        assert pull_image(node.registry, "team/signed", each["digest"]) == each["digest"]
        client.pull(f"{node.registry}/team/signed@{each['digest']}", outdir=str(directory / "back"))
        assert (directory / "back" / name).read_bytes() == contents[name]


def test_what_is_pushed_is_pulled_through_another_node(
    node: Node, layout: OciLayout, multi: Image, session_directory: Path
) -> None:
    skopeo_push(layout.root, "multi", f"{node.registry}/team/relayed:1")
    with Node("relaying", session_directory, upstreams={"hosting.test": node.registry}) as other:
        assert pull_image(other.registry, "hosting.test/team/relayed", "1") == multi.digest


def test_what_was_pushed_outlives_the_node(layout: OciLayout, multi: Image, directory: Path) -> None:
    with Node("mortal", directory, options=("--hosted", PATTERN)) as node:
        skopeo_push(layout.root, "multi", f"{node.registry}/team/kept:1")
        node.kill()
        node.start()
        assert pull_image(node.registry, "team/kept", "1") == multi.digest
        tags = json.loads(get(node.registry, "/v2/team/kept/tags/list").body)
        assert tags == {"name": "team/kept", "tags": ["1"]}
