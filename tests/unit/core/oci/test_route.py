"""The route parser: every shape of the API, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import validate_path
from p2p.core.oci.route import (
    MAX_PAGE,
    METHODS,
    BlobRoute,
    CatalogRoute,
    ExtensionRoute,
    ManifestRoute,
    ReferrersRoute,
    Route,
    TagsRoute,
    UploadRoute,
    UploadsRoute,
    VersionRoute,
    parse_route,
)

D = Digest.of(b"")
D512 = Digest.of(b"", "sha512")


def refused(method: str, path: str, query: str = "") -> tuple[str, int]:
    with pytest.raises(RegistryError) as caught:
        parse_route(method, path, query)
    return caught.value.code, caught.value.status


@pytest.mark.parametrize(
    ("method", "path", "query", "route"),
    [
        ("GET", "/v2/", "", VersionRoute()),
        ("HEAD", "/v2", "ns=ghcr.io", VersionRoute("ghcr.io")),
        ("GET", f"/v2/a/blobs/{D}", "", BlobRoute("a", D)),
        ("HEAD", f"/v2/ghcr.io/org/app/blobs/{D512}", "", BlobRoute("ghcr.io/org/app", D512)),
        ("GET", f"/v2/a/blobs/{D}".replace(":", "%3A"), "ns=docker.io", BlobRoute("a", D, "docker.io")),
        ("DELETE", f"/v2/a/blobs/{D}", "", BlobRoute("a", D)),
        ("GET", "/v2/a/b/manifests/latest", "", ManifestRoute("a/b", "latest", None)),
        ("PUT", "/v2/a/manifests/v1.0_x-y", "", ManifestRoute("a", "v1.0_x-y", None)),
        ("GET", f"/v2/a/manifests/{D}", "ns=LOCALHOST:5000", ManifestRoute("a", None, D, "localhost:5000")),
        ("GET", "/v2/a/manifests/_tag", "", ManifestRoute("a", "_tag", None)),
        ("GET", "/v2/a%2eb/manifests/x", "", ManifestRoute("a.b", "x", None)),
        ("GET", "/v2/a/tags/list", "", TagsRoute("a")),
        ("GET", "/v2/a/tags/list", "n=0", TagsRoute("a", 0)),
        ("GET", "/v2/a/tags/list", "n=10&last=v1", TagsRoute("a", 10, "v1")),
        ("GET", "/v2/a/tags/list", "n=0007&n=0007&last=", TagsRoute("a", 7)),
        ("GET", "/v2/a/tags/list", "n=1001", TagsRoute("a", MAX_PAGE)),
        ("GET", "/v2/a/tags/list", "n=" + "9" * 10_000, TagsRoute("a", MAX_PAGE)),
        ("GET", f"/v2/a/referrers/{D}", "", ReferrersRoute("a", D)),
        (
            "GET",
            f"/v2/a/referrers/{D}",
            "artifactType=application%2Fvnd.x%2Bjson&ns=quay.io",
            ReferrersRoute("a", D, "application/vnd.x+json", "quay.io"),
        ),
        ("POST", "/v2/a/blobs/uploads/", f"mount={D}&from=b", UploadsRoute("a", mount=D, source="b")),
        ("POST", "/v2/a/b/blobs/uploads", "", UploadsRoute("a/b")),
        ("PATCH", "/v2/a/blobs/uploads/0-_Z", "", UploadRoute("a", "0-_Z")),
        ("PUT", "/v2/a/blobs/uploads/_x", f"digest={D}", UploadRoute("a", "_x", digest=D)),
        ("GET", "/v2/_catalog", "n=5&last=a/b", CatalogRoute(5, "a/b")),
        ("GET", "/v2/_oci/ext/discover", "", ExtensionRoute("_oci", "ext", "discover")),
        ("POST", "/v2/_remora/v1/prefetch/a/b", "", ExtensionRoute("_remora", "v1", "prefetch", "a/b")),
        ("GET", "/v2/_remora/status", "", ExtensionRoute("_remora", "status", "")),
        ("GET", "/v2/a/b/_oci/ext/discover", "", ExtensionRoute("_oci", "ext", "discover", name="a/b")),
        # Names whose components are the API's own words.
        ("GET", f"/v2/manifests/blobs/{D}", "", BlobRoute("manifests", D)),
        ("GET", "/v2/blobs/uploads/manifests/x", "", ManifestRoute("blobs/uploads", "x", None)),
        ("GET", "/v2/a/manifests/tags/list", "", TagsRoute("a/manifests")),
        ("GET", "/v2/tags/list/tags/list", "", TagsRoute("tags/list")),
        ("GET", "/v2/a/tags/manifests/list", "", ManifestRoute("a/tags", "list", None)),
        ("GET", "/v2/a/manifests/_oci/ext/x", "", ExtensionRoute("_oci", "ext", "x", name="a/manifests")),
    ],
)
def test_shapes(method: str, path: str, query: str, route: Route) -> None:
    assert parse_route(method, path, query) == route


def test_a_manifest_route_gives_its_reference_as_text() -> None:
    assert ManifestRoute("a", "t", None).reference == "t"
    assert ManifestRoute("a", None, D).reference == str(D)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "/v1/",
        "/v20/",
        "v2/",
        "//v2/",
        "/%76%32/",
        "/v2//",
        "/v2/a",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/tags/list",
        "/v2/manifests/latest",
        f"/v2/blobs/{D}",
        "/v2/_x",
        "/v2/_",
        "/v2/_X/a/b",
        "/v2/_oci/",
        "/v2/_oci/../x",
        "/v2/..",
        "/v2/../etc/passwd",
        "/V2/",
    ],
)
def test_other_paths_are_404(path: str) -> None:
    assert refused("GET", path) == ("UNSUPPORTED", 404)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/", METHODS[VersionRoute]),
        (f"/v2/a/blobs/{D}", METHODS[BlobRoute]),
        ("/v2/a/manifests/x", METHODS[ManifestRoute]),
        ("/v2/a/tags/list", METHODS[TagsRoute]),
        (f"/v2/a/referrers/{D}", METHODS[ReferrersRoute]),
        ("/v2/a/blobs/uploads/", METHODS[UploadsRoute]),
        ("/v2/a/blobs/uploads/x", METHODS[UploadRoute]),
        ("/v2/_catalog", METHODS[CatalogRoute]),
        ("/v2/_oci/ext/discover", METHODS[ExtensionRoute]),
    ],
)
def test_methods(path: str, allowed: tuple[str, ...]) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", ""):
        if method in allowed:
            parse_route(method, path, "")
            continue
        with pytest.raises(RegistryError) as caught:
            parse_route(method, path, "")
        assert (caught.value.code, caught.value.status) == ("UNSUPPORTED", 405)
        assert caught.value.detail == {"allowed": list(allowed)}


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "a/..",
        "../a",
        "%2e%2e",
        "%2E%2E/a",
        "a%2f..%2fb",
        "a%2fb",
        "a%5cb",
        "a\\b",
        "a%00",
        "a\0",
        "a%252e",
        "a%",
        "a%zz",
        "a//b",
        "/a",
        "A",
        "a b",
        "a%20b",
        "a+b",
        "localhost:5000/a",
        "%d0%b0lpine",
        "\u0430lpine",  # a Cyrillic letter
        "%ef%bc%8f",
        "a%0d%0aX",
        "-a",
        "a" * 256,
        "\ud800",
    ],
)
def test_hostile_names(name: str) -> None:
    for rest in (f"blobs/{D}", "manifests/latest", "tags/list", f"referrers/{D}"):
        assert refused("GET", f"/v2/{name}/{rest}") == ("NAME_INVALID", 400)


@pytest.mark.parametrize(
    "digest", ["sha256:", "sha256:ab", f"sha1:{D.hex}", str(D).upper(), f"{D}0", "x", "..", ""]
)
def test_hostile_digests(digest: str) -> None:
    assert refused("GET", f"/v2/a/blobs/{digest}") == ("DIGEST_INVALID", 400)
    assert refused("GET", f"/v2/a/referrers/{digest}") == ("DIGEST_INVALID", 400)
    if ":" in digest:
        assert refused("GET", f"/v2/a/manifests/{digest}") == ("DIGEST_INVALID", 400)


@pytest.mark.parametrize("tag", ["..", ".INVALID_MANIFEST_NAME", "-x", "", "a" * 129, "%2e%2e", "a+b"])
def test_a_tag_that_cannot_be_is_unknown_to_readers(tag: str) -> None:
    assert refused("GET", f"/v2/a/manifests/{tag}") == ("MANIFEST_UNKNOWN", 404)
    assert refused("PUT", f"/v2/a/manifests/{tag}") == ("MANIFEST_INVALID", 400)


@pytest.mark.parametrize("session", ["..", "a.b", "a:b", "a" * 129, "%2e%2e", "a~b"])
def test_hostile_sessions(session: str) -> None:
    assert refused("PATCH", f"/v2/a/blobs/uploads/{session}") == ("BLOB_UPLOAD_UNKNOWN", 404)


@pytest.mark.parametrize(
    "n", ["-1", "x", "1.0", "1e3", "", "%201", "+1", "0x10", "٣", "%D9%A3", "9" * 10_001]
)
def test_hostile_page_sizes(n: str) -> None:
    assert refused("GET", "/v2/a/tags/list", f"n={n}")[1] == 400
    assert refused("GET", "/v2/_catalog", f"n={n}")[1] == 400


@pytest.mark.parametrize(
    "query",
    [
        "ns=user@host",
        "ns=http://169.254.169.254/",
        "ns=a/b",
        "ns=..",
        "ns=a%00",
        "ns=ghcr.io&ns=quay.io",
        "last=a%00",
        "last=" + "a" * 513,
        "n=1&n=2",
        "&".join(f"k{number}=v" for number in range(65)),
    ],
)
def test_hostile_queries(query: str) -> None:
    assert refused("GET", "/v2/a/tags/list", query)[1] == 400


def test_a_hostile_artifact_type() -> None:
    assert refused("GET", f"/v2/a/referrers/{D}", "artifactType=a%0d%0ab")[1] == 400


WORDS = """v2 a A .. . %2e %2F % \\ \0 blobs uploads manifests tags list referrers _catalog _oci ext latest
    sha256:x ghcr.io a:b \u00e9"""
SEGMENTS = st.sampled_from(["", str(D), *WORDS.split()])
PATHS = st.lists(SEGMENTS).map(lambda parts: "/v2/" + "/".join(parts))
QUERIES = st.lists(
    st.sampled_from(
        ["ns=ghcr.io", "ns=", "n=1", "n=-1", "last=a", "artifactType=a/b", "%", "=", "&&", "é", "n=%"]
    )
).map("&".join)
METHOD = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"])


@pytest.mark.slow
@given(METHOD | st.text(), st.text() | PATHS, st.text() | QUERIES)
@example("GET", "/v2/\ud800/tags/list", "")
@example("GET", "/v2/a/tags/list", "n=\ud800")
def test_nothing_but_a_registry_error(method: str, path: str, query: str) -> None:
    try:
        route = parse_route(method, path, query)
    except RegistryError:
        return
    assert method in METHODS[type(route)]
    name = getattr(route, "name", None)
    if name is not None:
        assert validate_path(name) == name


def test_a_push_by_digest_may_give_tags() -> None:
    route = parse_route("PUT", f"/v2/a/manifests/{D}", "tag=b&tag=c&tag=b")
    assert isinstance(route, ManifestRoute)
    assert (route.digest, route.tag, route.more_tags) == (D, None, ("b", "c"))
    assert parse_route("GET", f"/v2/a/manifests/{D}", "tag=b") == ManifestRoute("a", None, D)
    assert refused("PUT", f"/v2/a/manifests/{D}", "tag=-")[0] == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("digest-algorithm=md5", "DIGEST_INVALID"),
        ("mount=sha256:12", "DIGEST_INVALID"),
        ("digest=", "DIGEST_INVALID"),
        (f"mount={D}&from=../etc", "NAME_INVALID"),
    ],
)
def test_uploads_begun_wrongly(query: str, code: str) -> None:
    assert refused("POST", "/v2/a/blobs/uploads/", query) == (code, 400)
