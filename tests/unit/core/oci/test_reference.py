"""References: Docker's normalisation, the spec's grammar, and what must be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import (
    MAX_NAME,
    Reference,
    Repository,
    validate_path,
    validate_registry,
    validate_tag,
)

D = Digest.of(b"")

COMPONENT = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
PATH = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
REGISTRY = st.sampled_from(
    [
        "docker.io",
        "ghcr.io",
        "localhost",
        "localhost:5000",
        "127.0.0.1:1",
        "[::1]:5000",
        "a.b-c.example:65535",
    ]
)
DIGEST = st.binary(max_size=2).map(Digest.of)


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("Docker.IO/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("org/app", "docker.io/org/app:latest", "org/app:latest"),
        ("ghcr.io/org/app:1", "ghcr.io/org/app:1", "ghcr.io/org/app:1"),
        ("GHCR.io/org/app:V1", "ghcr.io/org/app:V1", "ghcr.io/org/app:V1"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        (f"alpine@{D}", f"docker.io/library/alpine@{D}", f"alpine@{D}"),
        (f"alpine:3@{D}", f"docker.io/library/alpine:3@{D}", f"alpine:3@{D}"),
        (f"h:1/a:2@{D}", f"h:1/a:2@{D}", f"h:1/a:2@{D}"),
        ("docker.io/foo.bar/app", "docker.io/foo.bar/app:latest", "docker.io/foo.bar/app:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ],
)
def test_normalisation(text: str, canonical: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert reference.familiar() == familiar
    assert Reference.parse(familiar) == Reference.parse(canonical) == reference


def test_parts() -> None:
    reference = Reference.parse(f"ghcr.io/org/app:1@{D}")
    assert reference.repository == Repository("ghcr.io", "org/app")
    assert (reference.tag, reference.digest) == ("1", D)
    assert reference.identifier == str(D)
    assert Reference.parse("app").identifier == "latest"
    assert Reference.parse(f"app@{D}").tag is None


@pytest.mark.slow
@given(REGISTRY, PATH, st.none() | TAG, st.none() | DIGEST)
def test_references_round_trip(registry: str, path: str, tag: str | None, digest: Digest | None) -> None:
    text = f"{registry}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = Reference.parse(text)
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar()) == reference
    assert Repository.parse(str(reference.repository)) == reference.repository


HOSTILE_PATHS = [
    "",
    ".",
    "..",
    "../app",
    "a/../b",
    "a/./b",
    "a//b",
    "/a",
    "a/",
    "%2e%2e/a",
    "a%2fb",
    "a\\b",
    "..\\a",
    "a\0b",
    "a\n",
    "a b",
    "App",
    "-a",
    "a-",
    "_a",
    "a___b",
    "a..b",
    "a._b",
    ".a",
    "a:b",
    "a@b",
    "\u0430lpine",  # a Cyrillic letter
    "a\uff0fb",  # a full-width slash
    "a\u2024b",  # a one-dot leader
    "\u2170",  # a small Roman one
    "\u0663",  # an Arabic-Indic digit
    "\u017f",  # a long s, which case-folds to "s"
    "a" * (MAX_NAME + 1),
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE_PATHS)
def test_hostile_paths_are_refused(name: str) -> None:
    with pytest.raises(RegistryError) as caught:
        validate_path(name)
    assert (caught.value.code, caught.value.status) == ("NAME_INVALID", 400)
    with pytest.raises(RegistryError):
        Repository.parse(f"ghcr.io/{name}")


@pytest.mark.parametrize("name", ["a", "a/b/c", "a.b", "a_b", "a__b", "a-----b", "ghcr.io/org/app", "0"])
def test_good_paths(name: str) -> None:
    assert validate_path(name) == name


def test_upper_case_is_named_as_the_cause() -> None:
    with pytest.raises(RegistryError, match="lower case"):
        Reference.parse("Org/App")


def test_length_counts_registry_and_path() -> None:
    assert validate_path("a" * MAX_NAME)
    fits = "a" * (MAX_NAME - len("ghcr.io/"))
    assert Repository.parse(f"ghcr.io/{fits}").path == fits
    with pytest.raises(RegistryError, match="255"):
        Repository.parse(f"ghcr.io/{fits}a")
    with pytest.raises(RegistryError, match="255"):
        Reference.parse("a" * MAX_NAME)


@pytest.mark.parametrize(
    "tag", ["", ".", "..", "-a", ".a", "a/b", "a:b", "a\n", "a%2e", "ä", "a" * 129, "\0", "a\\b"]
)
def test_hostile_tags_are_refused(tag: str) -> None:
    with pytest.raises(RegistryError) as caught:
        validate_tag(tag)
    assert (caught.value.code, caught.value.status) == ("TAG_INVALID", 400)


@given(TAG)
def test_good_tags(tag: str) -> None:
    assert validate_tag(tag) == tag


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "host:",
        "host:x",
        "host:65536",
        "host:123456",
        "user@host",
        "user:pw@host",
        "-host",
        "host-",
        "a..b",
        ".a",
        "a.",
        "host\\x",
        "host%2e",
        "[::1",
        "[]",
        "ho\u017ft",
        "a b",
        "a\0",
        "http://host",
        "a" * 256,
    ],
)
def test_hostile_registries_are_refused(name: str) -> None:
    with pytest.raises(RegistryError) as caught:
        validate_registry(name)
    assert caught.value.code == "NAME_INVALID"


@pytest.mark.parametrize(
    "name", ["docker.io", "a", "a-b.c:0", "127.0.0.1:5000", "[fe80::1]", "my_alias", "h:65535"]
)
def test_good_registries(name: str) -> None:
    assert validate_registry(name.upper()) == name.lower()


@pytest.mark.parametrize(
    "text", ["", ":", "@", "a:", "a@", f"a@{D}@{D}", "a:b:c", "a@sha256:1", "/", "a/b/", "host:1/"]
)
def test_malformed_references(text: str) -> None:
    with pytest.raises(RegistryError):
        Reference.parse(text)


PIECES = st.lists(
    st.sampled_from(
        ["a", "B", ".", "..", "/", ":", "@", "-", "_", "%2e", "\\", "\0", "[", "]", "1", "library", str(D)]
    )
).map("".join)


@given(st.text() | PIECES)
def test_nothing_but_a_registry_error(text: str) -> None:
    for parse in (Reference.parse, Repository.parse):
        try:
            value = parse(text)
        except RegistryError:
            continue
        assert parse(str(value)) == value
        assert ".." not in value.path.split("/")
