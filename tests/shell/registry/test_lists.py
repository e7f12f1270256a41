from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from p2p.core.oci.reference import Repository
from p2p.errors import OriginUnreachableError
from p2p.metadata.api import TagRow
from p2p.net.message import Content, Response
from p2p.origin.api import Fetched
from p2p.registry.upstreams import LAYOUT
from tests.support.registry_rig import Rig, errors, header

OWN = Repository(LAYOUT, "own")


def body(response: Response) -> dict[str, object]:
    assert isinstance(response.body, Content)
    return json.loads(response.body.data)


async def hosting(count: int, *names: str) -> Rig:
    rig = Rig()
    for name in names or ("own",):
        rig.hosted.names.add(name)
        for number in range(count):
            row = TagRow(Digest.of(b""), OCI_MANIFEST, 0, datetime.now(UTC))
            await rig.metadata.put_tag(Repository(LAYOUT, name), f"{number:04}", row)
    return rig


async def test_upstream_tags_under_the_name_and_link_of_this_node() -> None:
    rig = Rig()
    link = '</v2/org/app/tags/list?n=2&last=b&token=secret>; rel="next"'
    data = b'{"name":"org/app","tags":["a","b"]}'
    rig.ghcr.tag_page = Fetched("application/json", data, (("link", link),))
    response = await rig.get("/v2/ghcr.io/org/app/tags/list", "n=2&last=_")
    assert body(response) == {"name": "ghcr.io/org/app", "tags": ["a", "b"]}
    assert header(response, "link") == '</v2/ghcr.io/org/app/tags/list?n=2&last=b>; rel="next"'
    assert rig.ghcr.tag_asked == [("org/app", 2, "_")]
    response = await rig.get("/v2/org/app/tags/list", "ns=ghcr.io")
    assert header(response, "link") == '</v2/org/app/tags/list?n=2&last=b&ns=ghcr.io>; rel="next"'
    assert header(response, "oci-namespace") == "ghcr.io"


async def test_last_page_has_no_link() -> None:
    rig = Rig()
    rig.origin.tag_page = Fetched("application/json", b'{"name":"app","tags":["a"]}')
    assert header(await rig.get("/v2/app/tags/list"), "link") is None


async def test_null_tags_are_none() -> None:
    rig = Rig()
    rig.origin.tag_page = Fetched("application/json", b'{"name":"app","tags":null}')
    assert body(await rig.get("/v2/app/tags/list"))["tags"] == []


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"tags":[1]}', b'{"tags":"a"}', b"[" * 100_000])
async def test_nonsense_is_the_upstreams_fault(data: bytes) -> None:
    rig = Rig()
    rig.origin.tag_page = Fetched("application/json", data)
    response = await rig.get("/v2/app/tags/list")
    assert (response.status, errors(response)[0]["code"]) == (502, "UNAVAILABLE")


async def test_hosted_tags_page_by_page() -> None:
    rig = await hosting(5)
    response = await rig.get("/v2/own/tags/list", "n=2")
    assert body(response) == {"name": "own", "tags": ["0000", "0001"]}
    assert header(response, "link") == '</v2/own/tags/list?n=2&last=0001>; rel="next"'
    response = await rig.get("/v2/own/tags/list", "n=3&last=0001")
    assert body(response)["tags"] == ["0002", "0003", "0004"]
    assert header(response, "link") is None
    assert not rig.origin.calls


@pytest.mark.parametrize("name", ["own", "app"])
async def test_n_of_zero_is_empty_without_a_link(name: str) -> None:
    rig = await hosting(2)
    response = await rig.get(f"/v2/{name}/tags/list", "n=0")
    assert body(response)["tags"] == []
    assert header(response, "link") is None


@pytest.mark.parametrize("path", ["/v2/own/tags/list", "/v2/_catalog"])
@pytest.mark.parametrize("n", ["-1", "x", "1e9", "1" * 20_000])
async def test_odd_n_is_refused(path: str, n: str) -> None:
    response = await (await hosting(1)).get(path, f"n={n}")
    assert (response.status, errors(response)[0]["code"]) == (400, "PAGINATION_NUMBER_INVALID")


async def test_huge_n_is_capped() -> None:
    rig = await hosting(1001)
    for query in (f"n={10**30}", ""):
        response = await rig.get("/v2/own/tags/list", query)
        tags = body(response)["tags"]
        assert isinstance(tags, list)
        assert len(tags) == 1000
        assert header(response, "link") == '</v2/own/tags/list?n=1000&last=0999>; rel="next"'


async def test_catalog_is_of_hosted_repositories() -> None:
    rig = await hosting(1, "b", "a", "c/d")
    rig.origin.put_image("app", "1")
    await rig.get("/v2/app/manifests/1")
    assert body(await rig.get("/v2/_catalog")) == {"repositories": ["a", "b", "c/d"]}
    response = await rig.get("/v2/_catalog", "n=2")
    assert header(response, "link") == '</v2/_catalog?n=2&last=b>; rel="next"'
    assert body(await rig.get("/v2/_catalog", "n=2&last=b")) == {"repositories": ["c/d"]}
    assert body(await rig.get("/v2/_catalog", "n=0")) == {"repositories": []}


async def test_upstream_referrers_are_passed_on() -> None:
    rig = Rig()
    data = b'{"schemaVersion": 2, "manifests": []}'
    rig.origin.referrers_index = Fetched(OCI_INDEX, data, (("oci-filters-applied", "artifactType"),))
    response = await rig.get(f"/v2/app/referrers/{Digest.of(b'')}", "artifactType=a/b")
    assert isinstance(response.body, Content)
    assert response.body.data == data
    assert header(response, "content-type") == OCI_INDEX
    assert header(response, "oci-filters-applied") == "artifactType"


async def test_no_word_of_the_upstream_is_no_empty_list() -> None:
    rig = Rig()
    rig.origin.error = OriginUnreachableError("test", "no connection")
    assert (await rig.get(f"/v2/app/referrers/{Digest.of(b'')}")).status == 502


async def test_hosted_referrers() -> None:
    rig = await hosting(1)
    subject = Descriptor(OCI_MANIFEST, Digest.of(b"subject"), 7)
    for kind in ("a/sbom", "a/signature"):
        manifest = Manifest(OCI_MANIFEST, subject=subject, artifact_type=kind)
        referrer = Descriptor(OCI_MANIFEST, Digest.of(kind.encode()), 9)
        for _ in range(2):
            rig.hosted.add_referrer(OWN, referrer, manifest)
    response = await rig.get(f"/v2/own/referrers/{subject.digest}")
    manifests = body(response)["manifests"]
    assert isinstance(manifests, list)
    assert [each["artifactType"] for each in manifests] == ["a/sbom", "a/signature"]
    assert header(response, "oci-filters-applied") is None
    response = await rig.get(f"/v2/own/referrers/{subject.digest}", "artifactType=a%2Fsbom")
    manifests = body(response)["manifests"]
    assert isinstance(manifests, list)
    assert [each["digest"] for each in manifests] == [str(Digest.of(b"a/sbom"))]
    assert header(response, "oci-filters-applied") == "artifactType"
    assert body(await rig.get(f"/v2/own/referrers/{Digest.of(b'other')}"))["manifests"] == []
