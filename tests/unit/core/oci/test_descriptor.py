"""Descriptors and platforms: strict to read, exact to write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.descriptor import MAX_SIZE, Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError

D = Digest.of(b"")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

PLATFORMS = st.builds(
    Platform,
    os=st.text(),
    architecture=st.text(),
    variant=st.text(),
    os_version=st.text(),
    os_features=st.lists(st.text()).map(tuple),
)
DESCRIPTORS = st.builds(
    Descriptor,
    media_type=st.sampled_from([LAYER, "a/b", "application/vnd.x.y_z+json"]),
    digest=st.binary(max_size=2).map(Digest.of),
    size=st.integers(0, MAX_SIZE),
    platform=st.none() | PLATFORMS,
    annotations=st.dictionaries(st.text(), st.text()).map(lambda items: tuple(items.items())),
    artifact_type=st.text(),
    urls=st.lists(st.text()).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text() | st.sampled_from(["mediaType", "digest", "size", "platform", "urls"]), inner
        )
    ),
    max_leaves=8,
)


def entry(**changes: object) -> dict[str, object]:
    return {"mediaType": LAYER, "digest": str(D), "size": 7} | changes


@pytest.mark.slow
@given(DESCRIPTORS)
def test_round_trips_through_json(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(json.loads(json.dumps(descriptor.to_json()))) == descriptor


@pytest.mark.slow
@given(JSON)
def test_nothing_but_a_registry_error(value: object) -> None:
    for candidate in (
        value,
        entry(platform=value),
        entry(annotations=value),
        entry(urls=value),
        entry(size=value),
    ):
        try:
            Descriptor.from_json(candidate)
        except RegistryError:
            continue


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": -1}, "SIZE_INVALID"),
        ({"size": 1 << 63}, "SIZE_INVALID"),
        ({"size": True}, "SIZE_INVALID"),
        ({"size": 1.0}, "SIZE_INVALID"),
        ({"size": "7"}, "SIZE_INVALID"),
        ({"size": None}, "SIZE_INVALID"),
        ({"digest": "sha256:x"}, "DIGEST_INVALID"),
        ({"digest": None}, "DIGEST_INVALID"),
        ({"digest": 7}, "MANIFEST_INVALID"),
        ({"mediaType": ""}, "MANIFEST_INVALID"),
        ({"mediaType": "text"}, "MANIFEST_INVALID"),
        ({"mediaType": "a/b; c=d"}, "MANIFEST_INVALID"),
        ({"mediaType": "a/b\r\nX: y"}, "MANIFEST_INVALID"),
        ({"urls": "http://x"}, "MANIFEST_INVALID"),
        ({"urls": [1]}, "MANIFEST_INVALID"),
        ({"annotations": ["a"]}, "MANIFEST_INVALID"),
        ({"annotations": {"a": 1}}, "MANIFEST_INVALID"),
        ({"platform": "linux/amd64"}, "MANIFEST_INVALID"),
        ({"platform": {"os": 1}}, "MANIFEST_INVALID"),
        ({"artifactType": []}, "MANIFEST_INVALID"),
    ],
)
def test_wrong_types_and_values(changes: dict[str, object], code: str) -> None:
    with pytest.raises(RegistryError) as caught:
        Descriptor.from_json(entry(**changes))
    assert caught.value.code == code


def test_foreign_layers_are_known() -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    descriptor = Descriptor.from_json(entry(mediaType=foreign, urls=["http://169.254.169.254/"]))
    assert descriptor.foreign
    assert descriptor.urls == ("http://169.254.169.254/",)
    assert not Descriptor.from_json(entry()).foreign


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm64/v8", "windows/amd64", "linux/arm/v7"])
def test_platforms_round_trip(text: str) -> None:
    assert str(Platform.parse(text)) == text
    assert Platform.parse(text.upper()) == Platform.parse(text)


@pytest.mark.parametrize(
    "text", ["", "linux", "/", "linux/", "/amd64", "a/b/", "a/b/c/d", "a/b c", "a/b\0", "a/ä"]
)
def test_malformed_platforms(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        Platform.parse(text)
    assert caught.value.exit_code == 2


@given(st.text())
def test_any_text_as_a_platform(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except RegistryError:
        return
    assert Platform.parse(str(platform)) == platform
    assert platform.matches(platform)


@pytest.mark.parametrize(
    ("offered", "wanted", "holds"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("windows/amd64", "linux/amd64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/aarch64", "linux/arm64", True),
        ("linux/x86_64", "linux/amd64", True),
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/amd64/v3", "linux/amd64/v2", False),
        ("linux/amd64/v3", "linux/amd64", True),
        ("unknown/unknown", "linux/amd64", False),
    ],
)
def test_what_runs_where(offered: str, wanted: str, holds: bool) -> None:
    assert Platform.parse(offered).matches(Platform.parse(wanted)) is holds


def test_os_versions_match_by_their_dots() -> None:
    wanted = Platform("windows", "amd64", os_version="10.0.17763")
    assert Platform("windows", "amd64", os_version="10.0.17763.5576").matches(wanted)
    assert not Platform("windows", "amd64", os_version="10.0.177630").matches(wanted)
    assert not Platform("windows", "amd64").matches(wanted)
