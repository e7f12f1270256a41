from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2p.core.oci.digest import Digest
from p2p.net.message import Content, Response
from tests.support.registry_rig import Rig, errors, header, request

DIGEST = Digest.of(b"layer")


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
async def test_version(path: str) -> None:
    response = await Rig().get(path)
    assert response.status == 200
    assert header(response, "docker-distribution-api-version") == "registry/2.0"
    assert response.body == Content(b"{}")


async def test_extensions() -> None:
    rig = Rig()
    response = await rig.get("/v2/_oci/ext/discover")
    assert isinstance(response.body, Content)
    assert json.loads(response.body.data)["extensions"][0]["name"] == "_oci"
    assert (await rig.get("/v2/_oci/ext/other")).status == 404
    assert (await rig.get("/v2/app/_oci/ext/discover")).status == 404
    assert (await rig("POST", "/v2/_oci/ext/discover")).status == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/app/manifests/1"),
        ("DELETE", "/v2/app/manifests/1"),
        ("DELETE", f"/v2/app/blobs/{DIGEST}"),
        ("POST", "/v2/app/blobs/uploads/"),
        ("PATCH", "/v2/app/blobs/uploads/abc"),
        ("PUT", "/v2/app/blobs/uploads/abc"),
        ("GET", "/v2/app/blobs/uploads/abc"),
        ("POST", "/v2/"),
        ("BREW", f"/v2/app/blobs/{DIGEST}"),
    ],
)
async def test_what_is_no_pull_is_405(method: str, path: str) -> None:
    rig = Rig()
    response = await rig(method, path)
    assert (response.status, errors(response)[0]["code"]) == (405, "UNSUPPORTED")
    assert header(response, "allow") is not None
    assert not rig.origin.calls


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/", "", 404, "UNSUPPORTED"),
        ("/v1/", "", 404, "UNSUPPORTED"),
        ("/v2/../etc/passwd", "", 404, "UNSUPPORTED"),
        ("/v2/a/../b/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/a%2f..%2fb/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/%2e%2e/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/a\\b/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/a%00/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/App/manifests/1", "", 400, "NAME_INVALID"),
        ("/v2/\u0430pp/manifests/1", "", 400, "NAME_INVALID"),  # a Cyrillic letter
        ("/v2/app/manifests/..", "", 404, "MANIFEST_UNKNOWN"),
        ("/v2/app/manifests/sha256:abc", "", 400, "DIGEST_INVALID"),
        ("/v2/app/blobs/sha256:../../x", "", 404, "UNSUPPORTED"),
        ("/v2/app/blobs/..:" + "0" * 64, "", 400, "DIGEST_INVALID"),
        ("/v2/app/blobs/md5:" + "0" * 32, "", 400, "DIGEST_INVALID"),
        ("/v2/app/manifests/1", "ns=169.254.169.254", 404, "NAME_UNKNOWN"),
        ("/v2/app/manifests/1", "ns=localhost", 404, "NAME_UNKNOWN"),
        ("/v2/app/manifests/1", "ns=user:pw@ghcr.io", 400, "NAME_INVALID"),
        ("/v2/app/manifests/1", "ns=ghcr.io%00.evil", 400, "NAME_INVALID"),
        ("/v2/app/manifests/1", "ns=ghcr.io&ns=evil.example", 400, "NAME_INVALID"),
    ],
)
async def test_bad_input_is_named_and_reaches_no_origin(
    path: str, query: str, status: int, code: str
) -> None:
    rig = Rig()
    response = await rig.get(path, query)
    assert (response.status, errors(response)[0]["code"]) == (status, code)
    for origin in (rig.origin, rig.hub, rig.ghcr):
        assert not origin.calls


async def test_unknown_upstream_names_it_and_the_mend() -> None:
    message = errors(await Rig().get("/v2/app/manifests/1", "ns=quay.example"))[0]["message"]
    assert "quay.example" in message
    assert '[upstreams."quay.example"]' in message


async def test_requests_are_counted_by_route_and_status() -> None:
    rig = Rig()
    rig.origin.put_image("app", "1")
    await rig.get("/v2/")
    await rig.get("/v2/app/manifests/1")
    await rig.head("/v2/app/manifests/1")
    await rig.get("/v2/app/manifests/2")
    await rig.get("/nowhere")
    assert rig.registry.statistics.requests == {
        ("version", 200): 1,
        ("manifest", 200): 2,
        ("manifest", 404): 1,
        ("none", 404): 1,
    }


async def test_each_way_to_an_upstream_reaches_the_same_repository() -> None:
    rig = Rig()
    rig.hub.put_image("library/nginx", "1")
    for path, query in (
        ("/v2/nginx/manifests/1", "ns=docker.io"),
        ("/v2/library/nginx/manifests/1", "ns=index.docker.io"),
        ("/v2/docker.io/nginx/manifests/1", ""),
        ("/v2/docker.io/library/nginx/manifests/1", "ns=docker.io"),
    ):
        assert (await rig.get(path, query)).status == 200


PART = st.sampled_from(
    [
        *("", "v2", "app", "ghcr.io", "blobs", "manifests", "tags", "list", "referrers", "uploads"),
        *("_catalog", "_oci", "ext", "discover", "..", ".", "%2e%2e", "%2f", "%00", "\\", "latest", "1"),
        *(str(DIGEST), "sha256:", "sha512:" + "0" * 128, "a" * 300),
    ]
) | st.text(max_size=8)
PATH = st.lists(PART, max_size=7).map(lambda parts: "/" + "/".join(parts))
QUERY = st.lists(
    st.tuples(st.sampled_from(["ns", "n", "last", "artifactType", "digest", "x"]), st.text(max_size=12)),
    max_size=3,
).map(lambda pairs: "&".join(f"{key}={value}" for key, value in pairs))
HEADERS = st.dictionaries(
    st.sampled_from(["range", "if_none_match", "if_range", "accept", "host", "origin"]),
    st.sampled_from(["bytes=0-1", "bytes=5-1", "bytes=-,", f'"{DIGEST}"', "*"])
    | st.text(st.characters(max_codepoint=255), max_size=20),
)
METHOD = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"])


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(METHOD, PATH | st.text(max_size=30), QUERY | st.text(max_size=20), HEADERS)
async def test_any_request_gets_a_response(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    rig = Rig()
    rig.origin.put_image("app", "1", [b"layer"])
    response = await rig.registry.handle(request(method, path, query, **headers))
    assert isinstance(response, Response)
    assert response.status < 500 or response.status == 502
    assert response.status not in (401, 408, 429)
    if response.status >= 400:
        assert errors(response)[0]["message"]
