from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.config import TagSettings
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.discovery.api import KnownReference
from p2p.errors import OriginNotFoundError, OriginProtocolError, OriginUnreachableError
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory import MemoryMetadata
from p2p.origin.api import Kind
from p2p.registry.access import Access
from tests.support.registry_rig import APP, LAYER, MemoryOrigin, MemoryOrigins, MemoryReferences, at_once


class Setup:
    def __init__(self, settings: TagSettings | None = None) -> None:
        self.origin = MemoryOrigin("test")
        self.metadata = MemoryMetadata()
        self.references = MemoryReferences()
        self.access = Access(
            metadata=self.metadata,
            origins=MemoryOrigins(self.origin),
            references=self.references,
            settings=settings or TagSettings(),
        )
        self.manifest = self.origin.put_image("app", None)
        self.layer = self.origin.put_blob("app", b"layer")


async def test_linked_content_asks_nobody() -> None:
    setup = Setup()
    await setup.metadata.link(APP, [Descriptor(LAYER, setup.layer, 5)])
    assert await setup.access.prove(APP, setup.layer, Kind.BLOB) == Descriptor(LAYER, setup.layer, 5)
    assert not setup.origin.calls


async def test_unlinked_blob_is_proven_once_for_all_and_then_linked() -> None:
    setup = Setup()
    setup.origin.gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            found = await at_once(50, lambda: setup.access.prove(APP, setup.layer, Kind.BLOB))
            assert {each.size for each in found} == {5}

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        setup.origin.gate.set()
    assert setup.origin.calls == {"head_blob": 1}
    assert await setup.metadata.reaches(APP, setup.layer)


async def test_link_of_another_repository_proves_nothing() -> None:
    setup = Setup()
    secret = setup.origin.put_blob("private", b"secret")
    await setup.metadata.link(Repository("test", "private"), [Descriptor(LAYER, secret, 6)])
    with pytest.raises(OriginNotFoundError):
        await setup.access.prove(APP, secret, Kind.BLOB)
    assert not await setup.metadata.reaches(APP, secret)


async def test_layer_is_no_manifest_though_it_is_linked() -> None:
    setup = Setup()
    forged = setup.origin.put_blob("app", b'{"schemaVersion":2}')
    await setup.metadata.link(APP, [Descriptor(LAYER, forged, 19)])
    with pytest.raises(OriginNotFoundError):
        await setup.access.prove(APP, forged, Kind.MANIFEST)


async def test_manifest_by_digest_is_proven_linked_and_told() -> None:
    setup = Setup()
    found = await setup.access.prove(APP, setup.manifest, Kind.MANIFEST)
    assert found.media_type == OCI_MANIFEST
    assert [(r, d) for r, d, _ in setup.references.told] == [("test/app", str(setup.manifest))]
    await setup.access.prove(APP, setup.manifest, Kind.MANIFEST)
    assert setup.origin.calls["head"] == 1


async def test_origin_down_and_a_peer_saw_the_digest_confirmed() -> None:
    setup = Setup()
    setup.origin.error = OriginUnreachableError("test", "no connection")
    known = KnownReference(setup.manifest, OCI_MANIFEST, 99, 5.0)
    setup.references.known["test/app", str(setup.manifest)] = known
    assert (await setup.access.prove(APP, setup.manifest, Kind.MANIFEST)).size == 99
    assert setup.references.told == []


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (TagSettings(), Kind.BLOB),
        (TagSettings(from_peers=False), Kind.MANIFEST),
        (TagSettings(stale_if_error=0), Kind.MANIFEST),
    ],
)
async def test_origin_down_is_otherwise_an_error(settings: TagSettings, kind: Kind) -> None:
    setup = Setup(settings)
    setup.origin.error = OriginUnreachableError("test", "no connection")
    setup.references.known["test/app", str(setup.layer)] = KnownReference(setup.layer, OCI_MANIFEST, 5, 0)
    with pytest.raises(OriginUnreachableError):
        await setup.access.prove(APP, setup.layer, kind)


async def test_another_digest_than_asked_for_is_refused() -> None:
    setup = Setup()
    asked = Digest.of(b"asked")
    setup.origin.manifests["app", str(asked)] = (OCI_MANIFEST, b"another")
    with pytest.raises(OriginProtocolError, match="answered with"):
        await setup.access.prove(APP, asked, Kind.MANIFEST)
    assert not await setup.metadata.reaches(APP, asked)


@pytest.mark.parametrize(("kind", "code"), [(Kind.BLOB, "BLOB_UNKNOWN"), (Kind.MANIFEST, "MANIFEST_UNKNOWN")])
async def test_hosted_content_is_asked_of_nobody(kind: Kind, code: str) -> None:
    setup = Setup()
    with pytest.raises(RegistryError) as caught:
        await setup.access.prove(Repository(HOSTED, "app"), setup.layer, kind)
    assert caught.value.code == code
