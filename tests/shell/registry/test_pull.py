from __future__ import annotations

import pytest

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.origin.api import Kind
from p2p.registry import pull
from tests.support.registry_rig import APP, Rig


async def test_a_whole_image_as_prefetch_walks_it() -> None:
    rig = Rig()
    image = rig.origin.put_image("app", None, [b"one", b"two"])
    rig.origin.put_index("app", "1", [image])
    puller = rig.registry.puller
    top = await puller.manifest(APP, (await puller.resolve(APP, "1")).target)
    (child,) = top.parse().children
    proven = await puller.prove(APP, child.digest, Kind.MANIFEST)
    manifest = (await puller.manifest(APP, proven)).parse()
    assert [layer.digest for layer in manifest.layers] == [Digest.of(b"one"), Digest.of(b"two")]
    assert rig.origin.calls == {"head": 1}


async def test_true_size_and_type_replace_what_was_told() -> None:
    rig = Rig()
    digest = rig.origin.put_image("app", None)
    pulled = await rig.registry.puller.manifest(APP, Descriptor("application/octet-stream", digest, 0))
    assert pulled.descriptor == Descriptor(OCI_MANIFEST, digest, len(pulled.data))
    assert await rig.metadata.describe(APP, digest) == pulled.descriptor


async def test_spans_shorter_than_the_manifest_are_joined() -> None:
    rig = Rig()
    rig.transfer.step = 7
    digest = rig.origin.put_image("app", None)
    pulled = await rig.registry.puller.manifest(APP, Descriptor(OCI_MANIFEST, digest, 0))
    assert Digest.of(pulled.data) == digest


async def test_only_so_many_manifests_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "REMEMBERED", 2)
    rig = Rig()
    for number in range(5):
        digest = rig.origin.put_image("app", None, [b"%d" % number])
        await rig.registry.puller.manifest(APP, Descriptor(OCI_MANIFEST, digest, 0))
    assert len(rig.registry.puller._known) == 2


def test_admit_names_both_sizes() -> None:
    puller = Rig().registry.puller
    puller.admit(APP, Digest.of(b""), 4 << 20)
    with pytest.raises(RegistryError, match="4194305 bytes, above the limit of 4194304"):
        puller.admit(APP, Digest.of(b""), (4 << 20) + 1)
