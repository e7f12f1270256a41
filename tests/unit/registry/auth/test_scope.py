from __future__ import annotations

import pytest

from p2p.core.oci.route import parse_route
from p2p.registry.auth.api import CATALOG, Action
from p2p.registry.auth.scope import Need, is_greeting, mount_source, need_of, requested_name, scope_of

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "a/b/manifests/1", Need("a/b", Action.PULL)),
        ("HEAD", "a/b/manifests/1", Need("a/b", Action.PULL)),
        ("PUT", "a/b/manifests/1", Need("a/b", Action.PUSH)),
        ("DELETE", "a/b/manifests/1", Need("a/b", Action.DELETE)),
        ("GET", f"a/b/blobs/{DIGEST}", Need("a/b", Action.PULL)),
        ("DELETE", f"a/b/blobs/{DIGEST}", Need("a/b", Action.DELETE)),
        ("POST", "a/b/blobs/uploads/", Need("a/b", Action.PUSH)),
        ("GET", "a/b/blobs/uploads/1", Need("a/b", Action.PUSH)),
        ("PATCH", "a/b/blobs/uploads/1", Need("a/b", Action.PUSH)),
        ("PUT", "a/b/blobs/uploads/1", Need("a/b", Action.PUSH)),
        ("DELETE", "a/b/blobs/uploads/1", Need("a/b", Action.PUSH)),
        ("GET", "a/b/tags/list", Need("a/b", Action.PULL)),
        ("GET", f"a/b/referrers/{DIGEST}", Need("a/b", Action.PULL)),
        ("GET", "_catalog", Need(CATALOG, Action.PULL)),
        ("GET", "_remora/search/images", None),
        ("POST", "_remora/search/images", Need(CATALOG, Action.PUSH)),
        ("DELETE", "_remora/search/images", Need(CATALOG, Action.DELETE)),
        ("GET", "a/_oci/ext/discover", Need("a", Action.PULL)),
        ("POST", "a/_x/y/z", Need("a", Action.PUSH)),
        ("GET", "_oci/ext/discover", None),
        ("GET", "", None),
    ],
)
def test_needs(method: str, path: str, need: Need | None) -> None:
    route = parse_route(method, f"/v2/{path}", "")
    assert need_of(method, route) == need
    assert is_greeting(method, route) == (need is None)


def test_the_source_registry_is_part_of_the_name() -> None:
    assert requested_name("a/b", None) == "a/b"
    assert requested_name("a/b", "ghcr.io") == "ghcr.io/a/b"
    assert requested_name("ghcr.io/a/b", "ghcr.io") == "ghcr.io/a/b"
    route = parse_route("GET", "/v2/team-a/x/manifests/1", "ns=GHCR.io")
    assert need_of("GET", route) == Need("ghcr.io/team-a/x", Action.PULL)


@pytest.mark.parametrize(
    ("query", "source"),
    [
        (f"mount={DIGEST}&from=b/c", "b/c"),
        (f"mount={DIGEST}&from=b/c&ns=ghcr.io", "ghcr.io/b/c"),
        (f"mount={DIGEST}", None),
        ("from=b/c", None),
        ("", None),
    ],
)
def test_the_source_of_a_mount(query: str, source: str | None) -> None:
    assert mount_source(parse_route("POST", "/v2/a/blobs/uploads/", query)) == source
    assert mount_source(parse_route("GET", "/v2/", "")) is None


def test_scopes() -> None:
    assert scope_of(()) == ""
    assert scope_of([Need("a", Action.PULL)]) == "repository:a:pull"
    assert scope_of([Need("a", Action.DELETE)]) == "repository:a:delete"
    assert scope_of([Need(CATALOG, Action.PULL)]) == "registry:catalog:*"
    needs = [Need("a", Action.PUSH), Need("b/c", Action.PULL)]
    assert scope_of(needs) == "repository:a:pull,push repository:b/c:pull"
