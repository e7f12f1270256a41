from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import ConfigError, LocalError
from p2p.metadata.memory import MemoryMetadata
from p2p.registry import hosted as module
from p2p.registry.hosted import Hosted, host_layouts
from p2p.registry.upstreams import LAYOUT
from p2p.store.memory import MemoryStore
from tests.support.images import MIB, OciLayout
from tests.support.registry_rig import Rig, header, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = Repository(LAYOUT, "app")


class Host:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.metadata = MemoryMetadata()

    async def take(self, *directories: Path) -> Hosted:
        return await host_layouts(directories, store=self.store, metadata=self.metadata, pin=self.store.pin)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.store.close()


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "app")


async def test_an_image_is_in_the_store_linked_tagged_and_pinned(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 3 * MIB, seed=1), layout.empty_layer()], tag="1")
    hosted = await host.take(layout.root)
    assert hosted.names == {"app"}
    row = await host.metadata.tag(APP, "1")
    assert row is not None
    assert (str(row.digest), row.media_type) == (image.digest, OCI_MANIFEST)
    for content in (*image.manifests, *image.blobs):
        digest = Digest.parse(content.digest)
        stored = host.store.find(digest)
        assert stored is not None
        assert (stored.size, stored.pinned) == (content.size, True)
        assert await host.metadata.reaches(APP, digest)
    assert {str(digest) for digest in hosted.blobs} == {c.digest for c in (*image.manifests, *image.blobs)}


async def test_a_layer_of_several_buffers(
    host: Host, layout: OciLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER", 2 * MIB)
    image = layout.image([layout.layer("a", 7 * MIB + 5, seed=1)], tag="1")
    await host.take(layout.root)
    assert host.store.find(Digest.parse(image.blobs[1].digest)) is not None


async def test_again_changes_nothing(host: Host, layout: OciLayout) -> None:
    layout.image([layout.layer("a", 1000, seed=1)], tag="1")
    first = await host.take(layout.root)
    again = await host.take(layout.root)
    assert again.names == first.names
    assert again.blobs == first.blobs


async def test_what_is_no_longer_hosted_is_no_longer_offered(host: Host, tmp_path: Path) -> None:
    for name in ("app", "other"):
        layout = OciLayout(tmp_path / name)
        for tag in ("1", "2"):
            layout.image([layout.layer("a", 10, seed=int(tag))], tag=tag)
    await host.take(tmp_path / "app", tmp_path / "other")
    assert await host.metadata.repositories(LAYOUT, 9) == ["app", "other"]
    remade = OciLayout(tmp_path / "remade" / "app")
    remade.image([remade.layer("a", 10, seed=3)], tag="2")
    hosted = await host.take(remade.root)
    assert hosted.names == {"app"}
    assert await host.metadata.repositories(LAYOUT, 9) == ["app"]
    assert await host.metadata.tags(APP, 9) == ["2"]


async def test_an_index_with_all_and_with_some_of_its_platforms(host: Host, layout: OciLayout) -> None:
    images = {
        name: layout.image([layout.layer(name, 100, seed=seed)])
        for seed, name in enumerate(("amd64", "arm64"))
    }
    index = layout.index(images, tag="1")
    images["arm64"].top.path.unlink()
    await host.take(layout.root)
    row = await host.metadata.tag(APP, "1")
    assert row is not None
    assert str(row.digest) == index.digest
    assert await host.metadata.reaches(APP, Digest.parse(images["amd64"].digest))
    assert not await host.metadata.reaches(APP, Digest.parse(images["arm64"].digest))


async def test_a_missing_layer_is_named(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 100, seed=1)], tag="1")
    image.blobs[1].path.unlink()
    with pytest.raises(LocalError, match=image.blobs[1].path.name) as caught:
        await host.take(layout.root)
    assert "nothing is served" in caught.value.mend
    assert await host.metadata.tags(APP, 9) == []


@pytest.mark.parametrize("damage", ["flipped", "longer", "shorter"])
@pytest.mark.parametrize("which", ["layer", "manifest"])
async def test_wrong_bytes_are_named_and_nothing_is_tagged(
    host: Host, layout: OciLayout, damage: str, which: str
) -> None:
    image = layout.image([layout.layer("a", MIB, seed=1)], tag="1")
    content = image.blobs[1] if which == "layer" else image.top
    data = bytearray(content.path.read_bytes())
    if damage == "flipped":
        data[-1] ^= 1
    elif damage == "longer":
        data += b"x"
    else:
        data.pop()
    content.path.write_bytes(data)
    with pytest.raises(LocalError, match=content.path.name):
        await host.take(layout.root)
    assert host.store.find(Digest.parse(content.digest)) is None
    assert await host.metadata.tags(APP, 9) == []
    assert host.store.partials() == []


async def test_a_start_that_was_stopped_midway_is_done_anew(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 3 * MIB, seed=1)], tag="1")
    layer = image.blobs[1]
    partial = await host.store.open_partial(Digest.parse(layer.digest), layer.size)
    assert await partial.append(0, memoryview(layer.path.read_bytes()[:MIB]))
    await partial.close()
    await host.take(layout.root)
    assert host.store.find(Digest.parse(layer.digest)) is not None


async def test_one_begun_with_a_false_size_is_done_anew(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 1000, seed=1)], tag="1")
    layer = Digest.parse(image.blobs[1].digest)
    await (await host.store.open_partial(layer, 7)).close()
    await host.take(layout.root)
    assert host.store.find(layer) is not None


async def test_no_layout_and_no_directory(host: Host, tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="oci-layout") as caught:
            await host.take(directory)
        assert "OCI layout" in caught.value.mend


async def test_oversized_index_is_not_read(host: Host, layout: OciLayout) -> None:
    with (layout.root / "index.json").open("wb") as file:
        file.truncate(module.SMALL_FILE + 1)
    with pytest.raises(ConfigError, match="larger than"):
        await host.take(layout.root)


async def test_a_digest_is_never_a_way_out_of_the_directory(host: Host, layout: OciLayout) -> None:
    evil = {"mediaType": OCI_MANIFEST, "digest": "sha256:../../../etc/passwd", "size": 1}
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [evil]}))
    with pytest.raises(ConfigError, match="digest"):
        await host.take(layout.root)


async def test_referrers_are_found(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 10, seed=1)], tag="1")
    config = layout.add(b"{}", "application/vnd.oci.empty.v1+json")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "a/sbom",
        "config": config.descriptor(),
        "layers": [config.descriptor()],
        "subject": image.top.descriptor(),
    }
    sbom = layout.add(json.dumps(document).encode(), OCI_MANIFEST)
    layout._tag(sbom, "sbom")
    hosted = await host.take(layout.root)
    (referrer,) = hosted.referrers(APP, Digest.parse(image.digest))
    assert (str(referrer.digest), referrer.artifact_type) == (sbom.digest, "a/sbom")


async def test_hosted_images_are_pulled_and_the_origin_is_never_asked(host: Host, layout: OciLayout) -> None:
    image = layout.image([layout.layer("a", 1000, seed=1)], tag="1")
    hosted = await host.take(layout.root)
    rig = Rig(hosted=hosted)
    for repository_tag in await host.metadata.tags(APP, 9):
        row = await host.metadata.tag(APP, repository_tag)
        assert row is not None
        await rig.metadata.put_tag(APP, repository_tag, row)
    for content in (*image.manifests, *image.blobs):
        rig.transfer.complete[Digest.parse(content.digest)] = content.path.read_bytes()
    response = await rig.get("/v2/app/manifests/1")
    assert (response.status, header(response, "docker-content-digest")) == (200, image.digest)
    for blob in image.blobs:
        response = await rig.get(f"/v2/app/blobs/{blob.digest}")
        assert await read(response) == blob.path.read_bytes()
    gone = image.blobs[1]
    del rig.transfer.complete[Digest.parse(gone.digest)]
    assert (await rig.get(f"/v2/app/blobs/{gone.digest}")).status == 404
    assert (await rig.get("/v2/app/manifests/none")).status == 404
    assert not rig.origin.calls
