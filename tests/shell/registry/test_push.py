"""Manifests pushed and deleted, and what that does to everything else."""

from __future__ import annotations

import json

import pytest

from p2p.config import HostingSettings, RegistrySettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.notifications.api import What
from tests.support.push_rig import CONFIG, LAYER, NAME, Push, descriptor, index, sha512
from tests.support.registry_rig import errors, header

MANIFESTS = f"/v2/{NAME}/manifests"


async def test_an_image_comes_back_byte_for_byte() -> None:
    push = Push()
    document = await push.document([b"one", b"two"])
    data = json.dumps(document, indent=3).encode()  # not as we would write it
    response = await push("PUT", f"{MANIFESTS}/1.0", "", data, content_type=OCI_MANIFEST)
    digest = Digest.of(data)
    assert response.status == 201
    assert header(response, "location") == f"{MANIFESTS}/{digest}"
    for reference in ("1.0", digest):
        got = await push("GET", f"{MANIFESTS}/{reference}")
        assert header(got, "content-type") == OCI_MANIFEST
        assert header(got, "docker-content-digest") == str(digest)
        assert (await push.pull(f"{MANIFESTS}/{reference}"))[1] == data
    assert push.ears.heard[-1].tags == ("1.0",)
    assert {one.target.digest for one in push.ears.pulls if one.target is not None} == {digest}


async def test_tags_in_the_query_and_sha512() -> None:
    push = Push()
    document = await push.document([b"layer"])
    digest = sha512(json.dumps(document).encode())
    response = await push.manifest(document, str(digest), query="tag=a&tag=b&tag=a")
    assert response.status == 201
    assert [value for name, value in response.headers if name == b"OCI-Tag"] == [b"a", b"b"]
    head = await push("HEAD", f"{MANIFESTS}/b")
    assert header(head, "docker-content-digest") == str(digest)
    tags = await push.pull(f"/v2/{NAME}/tags/list")
    assert json.loads(tags[1]) == {"name": NAME, "tags": ["a", "b"]}


@pytest.mark.parametrize("query", ["tag=-x", "tag=", "&".join(f"tag=t{n}" for n in range(49))])
async def test_tags_that_are_none(query: str) -> None:
    push = Push()
    response = await push.manifest(await push.document([b"layer"]), "1", query=query)
    assert (response.status, errors(response)[0]["code"]) == (400, "MANIFEST_INVALID")


async def test_what_it_refers_to_must_be_there() -> None:
    push = Push()
    document = await push.document([b"layer"])
    document["layers"].append(descriptor(LAYER, Digest.of(b"missing"), b"missing"))
    response = await push.manifest(document, "1")
    assert (response.status, errors(response)[0]["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert errors(response)[0]["detail"] == [{"digest": str(Digest.of(b"missing"))}]
    digest = Digest.of(json.dumps(document).encode())
    for reference in ("1", digest):
        assert (await push("GET", f"{MANIFESTS}/{reference}")).status == 404
    assert (await push("GET", f"/v2/{NAME}/blobs/{digest}")).status == 404
    stored = push.store.find(digest)
    assert stored is None or not stored.pinned


async def test_another_repository_has_it_is_not_enough() -> None:
    push = Push()
    document = await push.document([b"layer"], name="team/other")
    assert (await push.manifest(document, "1")).status == 404


async def test_foreign_layers_need_not_be_there() -> None:
    push = Push()
    document = await push.document([])
    foreign = descriptor(LAYER, Digest.of(b"a"), b"a") | {"urls": ["https://elsewhere.test/a"]}
    plain = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", Digest.of(b"b"), b"b")
    document["layers"] = [foreign, plain]
    assert (await push.manifest(document, "1")).status == 201


async def test_an_index_needs_its_manifests() -> None:
    push = Push()
    image = await push.image("amd64")
    data = (await push.pull(f"{MANIFESTS}/{image}"))[1]
    assert (await push.manifest(index((image, data)), "multi")).status == 201
    assert (await push.manifest(index((Digest.of(b"gone"), b"gone")), "broken")).status == 404


@pytest.mark.parametrize(
    ("data", "content_type", "code"),
    [
        (b"", OCI_MANIFEST, "MANIFEST_INVALID"),
        (b"[]", OCI_MANIFEST, "MANIFEST_INVALID"),
        (b"{" * 100_000, OCI_MANIFEST, "MANIFEST_INVALID"),
        (b'{"schemaVersion":2}', OCI_INDEX, "MANIFEST_INVALID"),
        (b'{"schemaVersion":2,"layers":[],"manifests":[]}', OCI_MANIFEST, "MANIFEST_INVALID"),
    ],
)
async def test_what_is_no_manifest(data: bytes, content_type: str, code: str) -> None:
    push = Push()
    response = await push("PUT", f"{MANIFESTS}/1", "", data, content_type=content_type)
    assert (response.status, errors(response)[0]["code"]) == (400, code)


async def test_a_type_that_says_otherwise_than_the_document() -> None:
    """CVE-2021-41190."""
    push = Push()
    document = await push.document([b"layer"])
    data = json.dumps(document).encode()
    response = await push("PUT", f"{MANIFESTS}/1", "", data, content_type=OCI_INDEX)
    assert response.status == 400


async def test_a_digest_that_is_another() -> None:
    push = Push()
    response = await push.manifest(await push.document([b"layer"]), str(Digest.of(b"else")))
    assert (response.status, errors(response)[0]["code"]) == (400, "DIGEST_INVALID")


async def test_too_large() -> None:
    push = Push(registry_settings=RegistrySettings(default_upstream="test", manifest_bytes=1000))
    document = await push.document([b"layer"], annotations={"a": "x" * 1000})
    assert (await push.manifest(document, "1")).status == 413


# ── referrers ──────────────────────────────────────────────────────────────────────────────────────


async def referrers(push: Push, digest: Digest, query: str = "") -> list[dict[str, object]]:
    response = await push("GET", f"/v2/{NAME}/referrers/{digest}", query)
    assert (response.status, header(response, "content-type")) == (200, OCI_INDEX)
    assert (header(response, "oci-filters-applied") == "artifactType") is bool(query)
    found: list[dict[str, object]] = json.loads(response.body.data)["manifests"]  # type: ignore[union-attr]
    return found


async def test_referrers() -> None:
    push = Push()
    subject = descriptor(OCI_MANIFEST, Digest.of(b"to come"), b"to come")
    target = Digest.of(b"to come")
    assert await referrers(push, target) == []
    document = await push.document(
        [b"a"], subject=subject, artifactType="application/a", annotations={"k": "v"}
    )
    response = await push.manifest(document, "a")
    assert header(response, "oci-subject") == str(target)
    await push.image("b", [b"b"], subject=subject)
    found = await referrers(push, target)
    assert {entry["artifactType"] for entry in found} == {"application/a", CONFIG}
    (one,) = await referrers(push, target, "artifactType=application/a")
    assert one["annotations"] == {"k": "v"}
    assert one["size"] == len(json.dumps(document).encode())
    await push("DELETE", f"{MANIFESTS}/{one['digest']}")
    assert len(await referrers(push, target)) == 1


# ── deletes ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_manifest_goes_with_its_tags() -> None:
    push = Push()
    digest = await push.image("1")
    await push.manifest(json.loads((await push.pull(f"{MANIFESTS}/1"))[1]) | {"annotations": {}}, "other")
    response = await push("DELETE", f"{MANIFESTS}/{digest}")
    assert response.status == 202
    for reference in ("1", digest):
        assert (await push("GET", f"{MANIFESTS}/{reference}")).status == 404
        assert (await push("DELETE", f"{MANIFESTS}/{reference}")).status == 404
    assert (await push("HEAD", f"{MANIFESTS}/other")).status == 200
    assert push.ears.heard[-1].what is What.DELETE


async def test_a_tag_goes_alone() -> None:
    push = Push()
    digest = await push.image("1")
    assert (await push("DELETE", f"{MANIFESTS}/1")).status == 202
    assert (await push("GET", f"{MANIFESTS}/1")).status == 404
    assert (await push("GET", f"{MANIFESTS}/{digest}")).status == 200
    assert (await push("GET", f"/v2/{NAME}/tags/list")).status == 404


async def test_a_blob_in_use_stays() -> None:
    push = Push()
    digest = await push.image("1", [b"layer"])
    layer = f"/v2/{NAME}/blobs/{Digest.of(b'layer')}"
    refused = await push("DELETE", layer)
    assert (refused.status, errors(refused)[0]["code"]) == (405, "UNSUPPORTED")
    await push("DELETE", f"{MANIFESTS}/{digest}")
    assert (await push("DELETE", layer)).status == 202
    assert (await push("HEAD", layer)).status == 404
    assert (await push("DELETE", layer)).status == 404


async def test_deleted_in_one_repository_only() -> None:
    push = Push()
    for name in (NAME, "team/other"):
        await push.blob(b"shared", name)
    path = f"/blobs/{Digest.of(b'shared')}"
    assert (await push("DELETE", f"/v2/{NAME}{path}")).status == 202
    assert (await push("HEAD", f"/v2/{NAME}{path}")).status == 404
    await push.later(1e6 / 86400)
    assert (await push.pull(f"/v2/team/other{path}")) == (200, b"shared")


async def test_deletes_switched_off() -> None:
    """Tags too (CVE-2026-41888)."""
    push = Push(settings=HostingSettings(repositories=("team/**",), deletes=False))
    digest = await push.image("1")
    loose = await push.blob(b"nothing refers to it")
    for path in (f"{MANIFESTS}/1", f"{MANIFESTS}/{digest}", f"/v2/{NAME}/blobs/{loose}"):
        response = await push("DELETE", path)
        assert (response.status, errors(response)[0]["code"]) == (405, "UNSUPPORTED")
    assert (await push("GET", f"{MANIFESTS}/1")).status == 200


async def test_immutable_tags() -> None:
    push = Push(settings=HostingSettings(repositories=("team/**",), immutable_tags=("team/app:v*",)))
    digest = await push.image("v1")
    again = await push.manifest(json.loads((await push.pull(f"{MANIFESTS}/v1"))[1]), "v1")
    assert again.status == 201  # the same
    other = await push.manifest(await push.document([b"other"]), "v1")
    assert (other.status, errors(other)[0]["code"]) == (403, "DENIED")
    assert (await push("DELETE", f"{MANIFESTS}/v1")).status == 403
    assert (await push("DELETE", f"{MANIFESTS}/{digest}")).status == 403
    assert header(await push("HEAD", f"{MANIFESTS}/v1"), "docker-content-digest") == str(digest)
    await push.image("latest")
    assert (await push.manifest(await push.document([b"other"]), "latest")).status == 201


async def test_denied_names() -> None:
    push = Push(settings=HostingSettings(repositories=("team/**",), denied=("team/secret/**", "test/no")))
    assert (await push("POST", "/v2/team/secret/app/blobs/uploads/")).status == 403
    assert (await push("GET", "/v2/test/no/manifests/1")).status == 403
    assert not push.origin.calls


async def test_the_catalogue_and_the_pages_of_tags() -> None:
    push = Push()
    for name in ("team/b", "team/a"):
        await push.image("1", name=name)
    assert json.loads((await push.pull("/v2/_catalog"))[1]) == {"repositories": ["team/a", "team/b"]}
    for tag in ("c", "B", "a"):
        await push.image(tag)
    response = await push("GET", f"/v2/{NAME}/tags/list", "n=2")
    assert json.loads(response.body.data)["tags"] == ["B", "a"]  # type: ignore[union-attr]
    assert header(response, "link") == f'</v2/{NAME}/tags/list?n=2&last=a>; rel="next"'
