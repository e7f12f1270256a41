from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.config import UpstreamSettings
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.errors import ConfigError
from p2p.metadata.hosting import HOSTED
from p2p.registry.upstreams import LAYOUT, Upstreams

CONFIGURED = {
    "docker.io": UpstreamSettings(
        url="https://registry-1.docker.io",
        aliases=("index.docker.io", "registry-1.docker.io"),
        library_prefix=True,
    ),
    "ghcr.io": UpstreamSettings(url="https://ghcr.io"),
    "origin": UpstreamSettings(url="http://localhost:5010", aliases=("lab",)),
}


def upstreams(default: str = "docker.io", hosted: frozenset[str] = frozenset()) -> Upstreams:
    return Upstreams(CONFIGURED, default, hosted)


@pytest.mark.parametrize(
    ("name", "namespace", "registry", "path"),
    [
        ("library/nginx", "docker.io", "docker.io", "library/nginx"),
        ("nginx", "docker.io", "docker.io", "library/nginx"),
        ("nginx", "registry-1.docker.io", "docker.io", "library/nginx"),
        ("org/app", "ghcr.io", "ghcr.io", "org/app"),
        ("org/app", "GHCR.IO", "ghcr.io", "org/app"),
        ("ghcr.io/org/app", "ghcr.io", "ghcr.io", "org/app"),  # containerd with override_path
        ("app", "localhost:5010", "origin", "app"),
        ("app", "lab", "origin", "app"),
        ("lab/app", "lab", "origin", "lab/app"),  # no dot: a repository may well be called so
        ("ghcr.io/org/app", None, "ghcr.io", "org/app"),
        ("docker.io/nginx", None, "docker.io", "library/nginx"),
        ("index.docker.io/org/app", None, "docker.io", "org/app"),
        ("origin/app", None, "origin", "app"),
        ("lab/deep/er/app", None, "origin", "deep/er/app"),
        ("nginx", None, "docker.io", "library/nginx"),
        ("org/app", None, "docker.io", "org/app"),
        ("lab", None, "docker.io", "library/lab"),  # a prefix needs something behind it
    ],
)
def test_choice(name: str, namespace: str | None, registry: str, path: str) -> None:
    choice = upstreams().choose(name, namespace)
    assert choice.repository == Repository(registry, path)
    assert (choice.name, choice.namespace, choice.hosted) == (name, namespace, False)
    assert choice.prefixed is (namespace is None and name != path and not path.endswith(f"/{name}"))


@pytest.mark.parametrize(
    "namespace",
    ["169.254.169.254", "localhost", "evil.example", "localhost:5011", "[::1]:80", "hosted.invalid.example"],
)
def test_unknown_namespace_is_never_dialled(namespace: str) -> None:
    with pytest.raises(RegistryError) as caught:
        upstreams(hosted=frozenset({"app"})).choose("app", namespace)
    assert (caught.value.code, caught.value.status) == ("NAME_UNKNOWN", 404)
    assert namespace in caught.value.message
    assert f'[upstreams."{namespace}"]' in caught.value.mend


def test_unknown_prefix_under_docker_hub_names_the_registry_that_was_meant() -> None:
    with pytest.raises(RegistryError, match=r"ghcr\.oi"):
        upstreams().choose("ghcr.oi/org/app")


def test_dotted_prefix_is_a_path_under_other_defaults() -> None:
    assert upstreams("origin").choose("my.team/app").repository == Repository("origin", "my.team/app")


def test_hosted_wins_over_default_and_prefix_but_not_over_namespace() -> None:
    chosen = upstreams(hosted=frozenset({"nginx", "lab/app"}))
    assert chosen.choose("nginx").repository == Repository(LAYOUT, "nginx")
    assert chosen.choose("nginx").hosted
    assert chosen.choose("lab/app").hosted
    assert chosen.choose("nginx", "docker.io").repository == Repository("docker.io", "library/nginx")


def test_hosted_is_asked_live() -> None:
    hosted: set[str] = set()
    chosen = Upstreams(CONFIGURED, "origin", hosted)
    assert not chosen.choose("app").hosted
    hosted.add("app")
    assert chosen.choose("app").hosted


def test_name_of_the_hosted_registry_gives_no_way_to_unhosted_names() -> None:
    with pytest.raises(RegistryError) as caught:
        upstreams(hosted=frozenset({"app"})).choose("other", HOSTED)
    assert caught.value.code == "NAME_UNKNOWN"


def test_no_default() -> None:
    assert upstreams("").choose("ghcr.io/org/app").repository.registry == "ghcr.io"
    with pytest.raises(RegistryError, match="no upstream"):
        upstreams("").choose("org/app")


@pytest.mark.parametrize("default", ["nowhere.example", HOSTED])
def test_unknown_default_is_a_config_error(default: str) -> None:
    with pytest.raises(ConfigError, match="default_upstream"):
        upstreams(default)


def test_two_upstreams_of_one_name_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'lab' is taken by 'a'"):
        Upstreams(
            {
                "a": UpstreamSettings(url="https://a.example", aliases=("lab",)),
                "b": UpstreamSettings(url="https://b.example", aliases=("lab",)),
            },
            "",
        )


def test_userinfo_of_a_url_is_no_part_of_its_name() -> None:
    chosen = Upstreams({"a": UpstreamSettings(url="https://user:pw@a.example:444")}, "")
    assert chosen.choose("app", "a.example:444").repository.registry == "a"


@pytest.mark.slow
@given(
    st.text("abz019./:-_[]", max_size=40),
    st.none() | st.text("abz019./:-_[]@", max_size=40) | st.sampled_from(sorted(CONFIGURED)),
)
def test_any_name_gives_a_configured_upstream_or_a_clean_404(name: str, namespace: str | None) -> None:
    try:
        found = upstreams().choose(name, namespace).repository.registry
    except RegistryError as error:
        found = error.code
    assert found in (*CONFIGURED, "NAME_UNKNOWN")
