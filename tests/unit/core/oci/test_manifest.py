"""Manifests have one reading, or none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.descriptor import Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
)

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def descriptor(content: bytes, media_type: str = LAYER, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def image(**changes: object) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", CONFIG),
        "layers": [descriptor(b"one"), descriptor(b"two!")],
    } | changes


def index(*manifests: dict[str, object], **changes: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)} | changes


def child(name: str, platform: str | None) -> dict[str, object]:
    more = {} if platform is None else {"platform": Platform.parse(platform).to_json()}
    return descriptor(name.encode(), OCI_MANIFEST, **more)


def without(document: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in keys}


def dump(document: object) -> bytes:
    return json.dumps(document).encode()


def refused(data: bytes, content_type: str | None = None) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        parse_manifest(data, content_type)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image(media_type: str) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    document = image(mediaType=media_type, subject=subject, artifactType="a/b", annotations={"k": "v"})
    manifest = parse_manifest(dump(document), media_type)
    assert manifest.media_type == media_type
    assert not manifest.is_index
    assert manifest.config == Descriptor.from_json(document["config"])
    assert [layer.size for layer in manifest.layers] == [3, 4]
    assert [item.size for item in manifest.children] == [2, 3, 4]
    assert manifest.subject == Descriptor.from_json(subject)
    assert (manifest.artifact_type, manifest.annotations) == ("a/b", (("k", "v"),))
    assert manifest.select(Platform("linux", "amd64")) is None


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index(media_type: str) -> None:
    document = index(child("a", "linux/amd64"), child("bb", "linux/arm64/v8"), mediaType=media_type)
    manifest = parse_manifest(dump(document), f"{media_type}; charset=utf-8")
    assert manifest.is_index
    assert manifest.children == manifest.manifests
    assert manifest.config is None
    chosen = manifest.select(Platform.parse("linux/arm64"))
    assert chosen is not None
    assert chosen.size == 2


def test_a_repeated_layer_is_one_child() -> None:
    empty = descriptor(b"empty")
    manifest = parse_manifest(dump(image(layers=[empty, descriptor(b"x"), empty])), None)
    assert len(manifest.layers) == 3
    assert [item.digest for item in manifest.children] == [
        Digest.of(b"{}"),
        Digest.of(b"empty"),
        Digest.of(b"x"),
    ]


def test_foreign_layers_are_children_with_their_urls() -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document = image(layers=[descriptor(b"x", foreign, urls=["https://example.com/x"])])
    (_, layer) = parse_manifest(dump(document), None).children
    assert layer.foreign
    assert layer.urls == ("https://example.com/x",)


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "application/octet-stream", OCI_MANIFEST]
)
def test_the_type_may_be_stated_once_or_follow_from_the_shape(content_type: str | None) -> None:
    assert parse_manifest(dump(image()), content_type).media_type == OCI_MANIFEST
    bare = dump(without(image(), "mediaType", "schemaVersion"))
    assert parse_manifest(bare, content_type).media_type == OCI_MANIFEST
    assert parse_manifest(bare, DOCKER_MANIFEST).media_type == DOCKER_MANIFEST


def test_the_shape_of_an_index_without_a_type() -> None:
    assert parse_manifest(dump(without(index(), "mediaType")), None).media_type == OCI_INDEX


def test_lists_that_go_never_filled() -> None:
    assert parse_manifest(dump(image(layers=None)), None).layers == ()
    assert parse_manifest(dump(index(manifests=None)), None).manifests == ()


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(manifests=[]), OCI_MANIFEST),
        (image(manifests=[child("a", None)]), None),
        (without(image(manifests=[]), "mediaType"), None),
        (index(layers=[]), OCI_INDEX),
        (index(config=descriptor(b"{}", CONFIG)), None),
        (image(), OCI_INDEX),
        (image(), DOCKER_MANIFEST),
        (index(), OCI_MANIFEST),
        (without(image(), "mediaType"), OCI_INDEX),
        (without(index(), "mediaType"), OCI_MANIFEST),
        (image(mediaType=OCI_INDEX), None),
        (image(mediaType="text/html"), None),
        (image(mediaType="x"), None),
        (image(mediaType=7), None),
        (image(), "text/html"),
        (image(schemaVersion=3), None),
        (image(schemaVersion="2"), None),
        (image(schemaVersion=2.0), None),
        (without(image(), "config"), None),
        (without(image(), "layers"), None),
        (without(index(), "manifests"), OCI_INDEX),
        (image(layers={}), None),
        (image(layers=[7]), None),
        (image(subject=[]), None),
        (image(MediaType=OCI_INDEX), None),
        (image(Layers=[]), None),
        (image() | {"layer\u017f": []}, None),
        (image(config=descriptor(b"", CONFIG, Digest="x")), None),
        (image(layers=[descriptor(b"x"), descriptor(b"x", size=2)]), None),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(
    document: dict[str, object], content_type: str | None
) -> None:
    assert refused(dump(document), content_type).code == "MANIFEST_INVALID"


@pytest.mark.parametrize("content_type", [None, *sorted(DOCKER_SCHEMA1)])
def test_schema_1_is_named_as_unsupported(content_type: str | None) -> None:
    error = refused(dump({"schemaVersion": 1, "fsLayers": []}), content_type)
    assert error.code == "UNSUPPORTED"
    assert "schema 1" in str(error)
    assert refused(dump(image(fsLayers=[])), OCI_MANIFEST).code == "UNSUPPORTED"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{",
        b"{} {}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"size": NaN}',
        b'{"size": 1' + b"0" * 10_000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"mediaType": "a/b", "mediaType": "c/d"}',
        dump(image()).replace(b'"k"', b'"k"')[:-1] + b', "annotations": {"a": "1", "a": "2"}}',
    ],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    refused(data)


def test_selection() -> None:
    manifest = parse_manifest(
        dump(
            index(
                child("attestation", "unknown/unknown"),
                child("v6", "linux/arm/v6"),
                child("v7", "linux/arm/v7"),
                child("amd64v3", "linux/amd64/v3"),
                child("amd64", "linux/amd64"),
                child("again", "linux/amd64"),
            )
        ),
        None,
    )

    def chosen(text: str) -> Digest | None:
        found = manifest.select(Platform.parse(text))
        return found.digest if found else None

    assert chosen("linux/arm") == Digest.of(b"v7")
    assert chosen("linux/arm/v8") == Digest.of(b"v7")
    assert chosen("linux/arm/v6") == Digest.of(b"v6")
    assert chosen("linux/amd64") == Digest.of(b"amd64")
    assert chosen("linux/amd64/v3") == Digest.of(b"amd64v3")
    assert chosen("linux/s390x") is None


def test_one_manifest_without_a_platform_is_meant() -> None:
    platform = Platform("linux", "amd64")
    assert parse_manifest(dump(index(child("a", None))), None).select(platform) is not None
    assert parse_manifest(dump(index(child("a", None), child("b", None))), None).select(platform) is None


KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=5)
    | st.sampled_from([*MANIFEST_TYPES, *sorted(DOCKER_SCHEMA1)])
    | st.just(descriptor(b"")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)
CONTENT_TYPES = st.none() | st.text(max_size=5) | st.sampled_from(MANIFEST_TYPES)


@pytest.mark.slow
@given(st.binary() | st.dictionaries(KEYS, VALUES).map(dump) | VALUES.map(dump), CONTENT_TYPES)
def test_nothing_but_a_registry_error(data: bytes, content_type: str | None) -> None:
    try:
        manifest = parse_manifest(data, content_type)
    except RegistryError:
        return
    assert manifest.is_index == (manifest.config is None)
    assert not (manifest.layers and manifest.manifests)
