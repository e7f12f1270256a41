"""What is pushed for an upstream: forwarded first, then kept."""

from __future__ import annotations

import json

import pytest

from p2p.config import HostingSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.errors import OriginDeniedError, OriginUnreachableError
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.transfer.confined import Confined
from tests.support.push_rig import Push
from tests.support.registry_rig import errors, header

NAME = "ghcr.io/org/app"
UPSTREAM = Repository("ghcr.io", "org/app")
SETTINGS = HostingSettings(push_through=("ghcr.io/org/**",))


async def test_it_is_at_the_upstream_and_here() -> None:
    push = Push(settings=SETTINGS)
    digest = await push.image("1", [b"layer"], name=NAME)
    there = push.upstream.origin.at("org/app")
    assert there.blobs[Digest.of(b"layer")] == b"layer"
    assert there.tags["1"] == digest
    assert Digest.of(there.manifests[digest][1]) == digest
    # From here, though the upstream can't answer any more.
    push.upstream.origin.failure = OriginUnreachableError("ghcr.io", "no connection")
    assert await push.pull(f"/v2/{NAME}/blobs/{Digest.of(b'layer')}") == (200, b"layer")
    status, data = await push.pull(f"/v2/{NAME}/manifests/{digest}")
    assert (status, Digest.of(data)) == (200, digest)
    stored = push.store.find(digest)
    assert stored is not None
    assert not stored.pinned  # a cache: its home is the upstream
    assert {holding.digest for holding in push.announced} >= {str(digest), str(Digest.of(b"layer"))}


async def test_what_the_upstream_has_is_not_sent_again() -> None:
    push = Push(settings=SETTINGS)
    push.upstream.origin.put_blob("org/app", b"layer")
    await push.blob(b"layer", NAME)
    assert not [call for call in push.upstream.origin.requests if call[0] == "upload_blob"]


async def test_in_chunks() -> None:
    push = Push(settings=SETTINGS)
    location = await push.begin(NAME)
    await push("PATCH", location, "", b"lay")
    await push("PATCH", location, "", b"er")
    assert (await push("PUT", location, f"digest={Digest.of(b'layer')}")).status == 201
    assert Digest.of(b"layer") in push.upstream.origin.at("org/app").blobs


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (OriginDeniedError("ghcr.io", "denied: you may not push"), 403, "DENIED"),
        (OriginUnreachableError("ghcr.io", "no connection"), 502, "UNAVAILABLE"),
    ],
)
async def test_the_upstream_has_the_last_word(failure: Exception, status: int, code: str) -> None:
    push = Push(settings=SETTINGS)
    push.upstream.origin.failure = failure  # type: ignore[assignment]
    digest = Digest.of(b"layer")
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={digest}", b"layer")
    assert (response.status, errors(response)[0]["code"]) == (status, code)
    push.upstream.origin.failure = None
    document = await push.document([b"layer"], NAME)
    push.upstream.origin.failure = failure  # type: ignore[assignment]
    assert (await push.manifest(document, "1", NAME)).status == status
    assert await push.hosting.tag(push.registry.upstreams.choose(NAME).repository, "1") is None


async def test_nothing_is_deleted_nor_mounted_here() -> None:
    push = Push(settings=HostingSettings(repositories=("team/**",), push_through=("ghcr.io/org/**",)))
    digest = await push.image("1", name=NAME)
    for path in (f"/v2/{NAME}/manifests/1", f"/v2/{NAME}/manifests/{digest}"):
        response = await push("DELETE", path)
        assert (response.status, header(response, "allow")) == (405, "GET, HEAD, PUT")
    own = await push.blob(b"mine")
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"mount={own}&from=team/app")
    assert response.status == 202
    location = header(response, "location") or ""
    assert (await push("DELETE", location)).status == 204  # an upload may be cancelled


async def test_other_names_take_no_pushes() -> None:
    push = Push(settings=SETTINGS)
    for name in ("ghcr.io/other/app", "test/app", "org/app"):
        assert (await push("POST", f"/v2/{name}/blobs/uploads/")).status == 405


async def test_a_wrong_digest_never_reaches_the_upstream() -> None:
    push = Push(settings=SETTINGS)
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={Digest.of(b'x')}", b"layer")
    assert response.status == 400
    assert not push.upstream.origin.requests
    data = json.dumps({"schemaVersion": 2}).encode()
    assert (await push("PUT", f"/v2/{NAME}/manifests/1", "", data)).status == 400
    assert not push.upstream.origin.requests


async def test_what_goes_to_a_private_repository_is_confined_before_it_is_a_blob() -> None:
    records = MemoryHosting()
    private = {UPSTREAM}
    confined = Confined(records, private=private.__contains__, held=lambda _: False, changed=lambda _: None)
    push = Push(settings=SETTINGS, hosting=records, proofs=confined)
    layer = Digest.of(b"layer")
    push.upstream.origin.failure = OriginUnreachableError("ghcr.io", "no connection")
    await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={layer}", b"layer")
    # The bytes are here, and the upstream has not taken them: nobody is given them on any account.
    assert push.store.find(layer) is not None
    assert layer in confined
    assert not confined.reaches(UPSTREAM, layer)
    push.upstream.origin.failure = None
    manifest = await push.image("1", [b"layer"], name=NAME)
    for digest in (layer, manifest):
        assert digest in confined
        assert confined.reaches(UPSTREAM, digest)
    # A public repository that takes the same bytes makes them everybody's.
    private.clear()
    await push.blob(b"layer", "ghcr.io/org/open")
    assert layer not in confined
    assert manifest in confined
