from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.config import RegistrySettings
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.discovery.api import KnownReference
from p2p.errors import OriginDeniedError, OriginLimitedError, OriginUnreachableError
from p2p.net.message import Response, Spans
from p2p.origin.api import Kind
from tests.support.registry_rig import APP, CONFIG, LAYER, Rig, at_once, errors, header, read

DOWN = OriginUnreachableError("test", "no connection")


def url(reference: object, name: str = "app") -> str:
    return f"/v2/{name}/manifests/{reference}"


async def test_by_tag_byte_exact_with_its_type() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    response = await rig.get(url("1"), accept="application/vnd.docker.distribution.manifest.v1+json")
    assert response.status == 200
    assert await read(response) == rig.origin.manifests["app", "1"][1]
    assert header(response, "content-type") == OCI_MANIFEST
    assert header(response, "docker-content-digest") == str(digest)
    assert rig.origin.calls == {"head": 1}
    (wanted,) = rig.transfer.opened
    assert (wanted.repository, wanted.digest, wanted.kind) == (APP, digest, Kind.MANIFEST)


async def test_head_by_tag_fetches_no_body() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    response = await rig.head(url("1"))
    assert isinstance(response.body, Spans)
    assert response.body.length == len(rig.origin.manifests["app", "1"][1])
    assert header(response, "docker-content-digest") == str(digest)
    assert header(response, "content-type") == OCI_MANIFEST
    assert rig.transfer.opened == []


async def test_by_digest_after_the_tag_asks_the_origin_nothing_more() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    await rig.head(url("1"))
    assert (await rig.get(url(digest))).status == 200
    assert rig.origin.calls == {"head": 1}


async def test_by_digest_alone_is_proven_first() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", None)
    response = await rig.get(url(digest))
    assert (response.status, header(response, "content-type")) == (200, OCI_MANIFEST)
    assert rig.origin.calls == {"head": 1}


async def test_children_are_linked_and_read_ahead() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1", [b"one", b"two"])
    await rig.get(url("1"))
    ahead = [wanted.digest for wanted in rig.transfer.ahead]
    assert ahead[1:] == [Digest.of(b"one"), Digest.of(b"two")]
    assert len(ahead) == 3
    assert {wanted.repository for wanted in rig.transfer.ahead} == {APP}
    for child in ahead:
        assert await rig.metadata.reaches(APP, child)
        assert (await rig.get(f"/v2/app/blobs/{child}")).status == 200
    assert rig.origin.calls == {"head": 1}
    await rig.get(url(digest))
    assert len(rig.transfer.ahead) == 6  # a warm manifest hints again: its blobs may be gone


async def test_index_reads_nothing_ahead_until_a_platform_is_taken() -> None:
    rig = Rig()
    images = [rig.origin.put_image("app", None, [layer]) for layer in (b"amd64", b"arm64")]
    rig.origin.put_index("app", "1", images)
    response = await rig.get(url("1"))
    assert header(response, "content-type") == OCI_INDEX
    assert rig.transfer.ahead == []
    assert (await rig.get(url(images[1]))).status == 200
    assert rig.origin.calls == {"head": 1}  # the platform's manifest is reached through the index
    assert Digest.of(b"arm64") in [wanted.digest for wanted in rig.transfer.ahead]
    assert Digest.of(b"amd64") not in [wanted.digest for wanted in rig.transfer.ahead]


async def test_foreign_layers_are_not_read_ahead() -> None:
    rig = Rig()
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": str(Digest.of(b"foreign")),
        "size": 7,
        "urls": ["http://169.254.169.254/latest"],
    }
    rig.origin.put_image("app", "1", [], foreign=[foreign])
    assert (await rig.get(url("1"))).status == 200
    assert Digest.of(b"foreign") not in [wanted.digest for wanted in rig.transfer.ahead]


async def test_origin_down_serves_what_is_known_and_counts_it() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    rig.transfer.complete[digest] = rig.origin.manifests["app", "1"][1]
    await rig.head(url("1"))
    rig.origin.error = DOWN
    assert (await rig.get(url("1"))).status == 200
    assert rig.registry.statistics.stale_tags == 1
    await rig.age_tag("1", 8 * 86400)
    response = await rig.get(url("1"))
    assert (response.status, errors(response)[0]["code"]) == (502, "UNAVAILABLE")


async def test_origin_down_on_a_cold_node_whose_peers_have_all() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1", [b"layer"])
    data = rig.origin.manifests["app", "1"][1]
    rig.transfer.peers = {digest: data, Digest.of(b"layer"): b"layer"}
    rig.references.known["test/app", "1"] = KnownReference(digest, OCI_MANIFEST, len(data), 60)
    rig.origin.error = DOWN
    rig.origin.blobs.clear()
    assert (await rig.head(url("1"))).status == 200
    assert await read(await rig.get(url(digest))) == data
    assert await read(await rig.get(f"/v2/app/blobs/{Digest.of(b'layer')}")) == b"layer"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DOWN, 502, "UNAVAILABLE"),
        (OriginLimitedError("test", "limits us", retry_after=9), 503, "UNAVAILABLE"),
        (OriginDeniedError("test", "refused", "Run docker login"), 403, "DENIED"),
    ],
)
async def test_an_origin_that_fails_has_a_status(error: Exception, status: int, code: str) -> None:
    rig = Rig()
    rig.origin.error = error
    for reference in ("1", Digest.of(b"x")):
        response = await rig.get(url(reference))
        assert (response.status, errors(response)[0]["code"]) == (status, code)


async def test_unknown_tag_and_digest_are_404_even_where_the_bytes_are_here() -> None:
    rig = Rig()
    digest = rig.origin.put_image("private", "1")
    rig.transfer.complete[digest] = rig.origin.manifests["private", "1"][1]
    for reference in ("1", digest):
        for method in ("GET", "HEAD"):
            response = await rig(method, url(reference))
            assert (response.status, errors(response)[0]["code"]) == (404, "MANIFEST_UNKNOWN")


async def test_deleted_at_the_origin_is_not_served_from_the_cache() -> None:
    rig = Rig()
    rig.origin.put_image("app", "1")
    assert (await rig.get(url("1"))).status == 200
    del rig.origin.manifests["app", "1"]
    assert (await rig.get(url("1"))).status == 404


@pytest.mark.parametrize("told", [True, False])
async def test_manifest_above_the_limit_is_413(told: bool) -> None:
    rig = Rig(RegistrySettings(default_upstream="test", manifest_bytes=4 << 20))
    digest = rig.origin.put_manifest("app", b"x" * (5 << 20), OCI_MANIFEST, "1")
    if told:
        response = await rig.get(url("1"))
        assert rig.transfer.opened == []
        assert (await rig.head(url("1"))).status == 413
    else:
        await rig.metadata.link(APP, [Descriptor(OCI_MANIFEST, digest, 0)])
        response = await rig.get(url(digest))
        assert rig.transfer.spans_given == 0
    assert response.status == 413
    (error,) = errors(response)
    assert error["code"] == "MANIFEST_INVALID"
    assert "5242880 bytes" in error["message"]
    assert "registry.manifest_bytes" in error["message"]


@pytest.mark.parametrize(
    "document",
    [
        b"not json",
        b"[" * 100_000,
        json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": [], "layers": []}).encode(),
        json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode(),
    ],
    ids=["no-json", "deep", "two-readings", "another-type"],
)
async def test_ambiguous_manifest_of_an_upstream_is_refused_as_its_fault(document: bytes) -> None:
    rig = Rig()
    rig.origin.put_manifest("app", document, OCI_MANIFEST, "1")
    response = await rig.get(url("1"))
    assert response.status == 502
    assert errors(response)[0]["code"] == "MANIFEST_INVALID"
    assert "test/app@sha256:" in errors(response)[0]["message"]


async def test_absurd_size_of_a_layer_is_refused_before_anything_is_reserved() -> None:
    rig = Rig()
    layer = {"mediaType": LAYER, "digest": str(Digest.of(b"x")), "size": (1 << 63) - 1}
    rig.origin.put_image("app", "1", [], foreign=[layer])
    response = await rig.get(url("1"))
    assert (response.status, errors(response)[0]["code"]) == (502, "MANIFEST_INVALID")
    assert rig.transfer.ahead == []


async def test_so_many_layers_are_read_ahead_and_no_more() -> None:
    rig = Rig()
    rig.origin.put_image("app", "1", [b"%d" % number for number in range(1000)])
    assert (await rig.get(url("1"))).status == 200
    assert len(rig.transfer.ahead) == 256
    assert await rig.metadata.reaches(APP, Digest.of(b"999"))


async def test_layer_is_not_given_as_a_manifest() -> None:
    rig = Rig()
    evil = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()
    rig.origin.put_image("app", "1", [evil])
    await rig.get(url("1"))
    assert (await rig.get(url(Digest.of(evil)))).status == 404


async def test_if_none_match() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    response = await rig.get(url("1"), if_none_match=f'"{digest}"')
    assert response.status == 304
    assert rig.transfer.opened == []


async def test_a_hundred_clients_of_a_tag_send_one_head() -> None:
    rig = Rig()
    rig.origin.put_image("app", "1")
    rig.origin.gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            responses: list[Response] = await at_once(100, lambda: rig.get(url("1")))
            assert {response.status for response in responses} == {200}

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        rig.origin.gate.set()
    assert rig.origin.calls == {"head": 1}


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_silence_ends_in_504(autojump_clock: MockClock) -> None:
    rig = Rig()
    rig.origin.put_image("app", "1")
    rig.origin.gate = trio.Event()
    response = await rig.get(url("1"))
    assert response.status == 504
    rig.origin.gate = None
    assert (await rig.get(url("1"))).status == 200


async def test_type_of_one_repository_does_not_leak_into_another() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", "1")
    data = rig.origin.manifests["app", "1"][1]
    rig.origin.put_manifest("other", data, OCI_MANIFEST, "1")
    await rig.metadata.link(Repository("test", "other"), [Descriptor(CONFIG, digest, 3)])
    response = await rig.get(url(digest, "other"))
    assert (header(response, "content-type"), await read(response)) == (OCI_MANIFEST, data)
    assert LAYER not in str(response.headers)
