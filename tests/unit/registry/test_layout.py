from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.errors import ConfigError
from p2p.registry.layout import CONTAINERD_NAME, REF_NAME, parse_layout

MARKER = b'{"imageLayoutVersion":"1.0.0"}'


def index(*annotations: dict[str, str]) -> bytes:
    manifests = [
        {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"%d" % n)), "size": 1, "annotations": each}
        for n, each in enumerate(annotations)
    ]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


@pytest.mark.parametrize(
    ("annotations", "path", "tag"),
    [
        ({REF_NAME: "v1"}, "my-app", "v1"),
        ({REF_NAME: "app:1"}, "app", "1"),
        ({REF_NAME: "org/app:1"}, "org/app", "1"),
        ({REF_NAME: "org/app"}, "org/app", "latest"),
        ({REF_NAME: "docker.io/library/nginx:1.27"}, "library/nginx", "1.27"),
        ({REF_NAME: "localhost:5000/app:1"}, "app", "1"),
        ({REF_NAME: "localhost/app:1"}, "app", "1"),
        ({REF_NAME: f"ghcr.io/org/app:1@{Digest.of(b'')}"}, "org/app", "1"),
        ({REF_NAME: "latest", CONTAINERD_NAME: "docker.io/library/nginx:latest"}, "library/nginx", "latest"),
        ({CONTAINERD_NAME: "ghcr.io/org/app:2"}, "org/app", "2"),
        ({}, "my-app", None),
    ],
)
def test_names(annotations: dict[str, str], path: str, tag: str | None) -> None:
    (entry,) = parse_layout("/srv/images/my-app/", MARKER, index(annotations))
    assert (entry.path, entry.tag) == (path, tag)
    assert entry.top.digest == Digest.of(b"0")


@pytest.mark.parametrize(("directory", "path"), [("/x/My App (2)", "my-app-2"), ("app_1", "app_1")])
def test_directory_name_becomes_a_repository_name(directory: str, path: str) -> None:
    (entry,) = parse_layout(directory, MARKER, index({REF_NAME: "1"}))
    assert entry.path == path


def test_images_in_their_order() -> None:
    entries = parse_layout("app", MARKER, index({REF_NAME: "1"}, {REF_NAME: "2"}))
    assert [entry.tag for entry in entries] == ["1", "2"]


@pytest.mark.parametrize("marker", [b"", b"{}", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b"[" * 100_000])
def test_no_layout(marker: bytes) -> None:
    with pytest.raises(ConfigError, match="/srv/app/oci-layout") as caught:
        parse_layout("/srv/app", marker, index({}))
    assert "OCI layout" in caught.value.mend


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        index(),
        index({REF_NAME: "../../etc:1"}),
        index({REF_NAME: "ü"}),
        index({REF_NAME: "a:b:c"}),
    ],
)
def test_broken_index_is_named(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"/srv/app/index\.json"):
        parse_layout("/srv/app", MARKER, content)


def test_directory_without_any_letter_needs_a_name() -> None:
    with pytest.raises(ConfigError):
        parse_layout("/", MARKER, index({REF_NAME: "1"}))


@pytest.mark.slow
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_annotation_is_a_name_or_a_config_error(name: str, other: str) -> None:
    try:
        entries = parse_layout("app", MARKER, index({REF_NAME: name, CONTAINERD_NAME: other}))
    except ConfigError:
        return
    assert ".." not in entries[0].path
