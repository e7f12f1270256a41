from __future__ import annotations

import json

import pytest

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import PeerError
from p2p.search.documents import CONFIG_BYTES, MAX_TEXT, config_of, describe, read_document, read_manifest
from tests.support.catalog import CONFIG, MemoryCatalog
from tests.support.happenings import LAYER

APP = Repository("hosted", "app")


def entry(media_type: str, size: int = 10, content: bytes = b"x", **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": size, **more}


def image(**more: object) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": entry(CONFIG, 20),
            "layers": [entry(LAYER, 300, b"1"), entry(LAYER, 300, b"1"), entry(LAYER, 4000, b"2")],
            **more,
        }
    ).encode()


def test_an_image() -> None:
    data = image(annotations={"k": "v"}, subject=entry(OCI_MANIFEST, 1, b"s"))
    manifest = read_manifest(data, OCI_MANIFEST)
    assert manifest is not None
    target = Descriptor(OCI_MANIFEST, Digest.of(data), len(data))
    config = config_of(manifest)
    assert config is not None
    assert config.size == 20
    got = describe(APP, target, manifest, b'{"os":"Linux","architecture":"arm64","variant":"v8"}')
    assert got.size == len(data) + 20 + 300 + 4000, "a layer that occurs twice is there once"
    assert got.platforms == ("linux/arm64/v8",)
    assert got.artifact_type == CONFIG
    assert got.annotations == (("k", "v"),)
    assert got.subject == str(Digest.of(b"s"))


def test_an_index() -> None:
    children = [
        entry(OCI_MANIFEST, 10, b"1", platform={"os": "linux", "architecture": "amd64"}),
        entry(OCI_MANIFEST, 10, b"2", platform={"os": "linux", "architecture": "amd64"}),
        entry(OCI_MANIFEST, 10, b"3"),
    ]
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
    manifest = read_manifest(data, OCI_INDEX)
    assert manifest is not None
    assert config_of(manifest) is None
    got = describe(APP, Descriptor(OCI_INDEX, Digest.of(data), len(data)), manifest, None)
    assert got.platforms == ("linux/amd64",)
    assert got.size == len(data) + 30


def test_a_config_that_is_no_image_s_or_too_large_is_not_read() -> None:
    for config in (entry("application/vnd.oci.empty.v1+json"), entry(CONFIG, CONFIG_BYTES + 1)):
        manifest = read_manifest(image(config=config), OCI_MANIFEST)
        assert manifest is not None
        assert config_of(manifest) is None


@pytest.mark.parametrize("config", [b"", b"[]", b"[" * 100_000, b'{"os":1}', b'{"os":"","architecture":""}'])
def test_a_config_of_rubbish_tells_no_platform(config: bytes) -> None:
    manifest = read_manifest(image(), OCI_MANIFEST)
    assert manifest is not None
    assert describe(APP, Descriptor(OCI_MANIFEST, Digest.of(b""), 1), manifest, config).platforms == ()


def test_text_that_a_database_cannot_keep() -> None:
    manifest = read_manifest(image(annotations={"a\0": "\ud800b", "long": "x" * 10_000}), OCI_MANIFEST)
    assert manifest is not None
    got = describe(APP, Descriptor(OCI_MANIFEST, Digest.of(b""), 1), manifest, None)
    assert got.annotations == (("a\ufffd", "?b"), ("long", "x" * MAX_TEXT))


def test_what_is_no_manifest() -> None:
    assert read_manifest(b"{}", OCI_MANIFEST) is None
    assert read_manifest(b"\xff", OCI_MANIFEST) is None


async def test_a_document_is_read_from_the_catalog() -> None:
    catalog = MemoryCatalog()
    target = catalog.image("app", "1", platform="linux/arm64")
    document = await read_document(catalog, APP, target)
    assert document is not None
    assert (document.digest, document.platforms) == (str(target.digest), ("linux/arm64",))
    _, config = catalog.reads
    catalog.lost = {config}
    with pytest.raises(PeerError):
        await read_document(catalog, APP, target)
    del catalog.content[APP, target.digest]
    assert await read_document(catalog, APP, target) is None
