import pytest

from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.errors import OriginNotFoundError, RemoteError, VerificationError
from p2p.origin.memory import MemoryOrigin
from p2p.toolkit.image import MANIFEST_LIMIT
from p2p.toolkit.registry_image import RegistryImage

MANIFEST = b'{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"%s","size":2},"layers":[]}' % (
    str(Digest.of(b"{}")).encode()
)


@pytest.fixture
def origin() -> MemoryOrigin:
    origin = MemoryOrigin()
    origin.put_manifest("app", OCI_MANIFEST, MANIFEST, "1")
    return origin


@pytest.fixture
def image(origin: MemoryOrigin) -> RegistryImage:
    return RegistryImage(origin, "app", "memory/app:1")


async def test_a_manifest_by_tag_by_digest_and_by_descriptor(image: RegistryImage, origin) -> None:
    fetched = await image.manifest("1")
    assert fetched.data == MANIFEST
    assert fetched.descriptor.digest == Digest.of(MANIFEST)
    assert await image.manifest(str(fetched.descriptor.digest)) == fetched
    assert await image.manifest("", fetched.descriptor) == fetched
    assert [what for what, _, _ in origin.requests] == ["head", "open", "open", "open"]


async def test_manifests_that_are_not_taken(image: RegistryImage, origin) -> None:
    with pytest.raises(OriginNotFoundError):
        await image.manifest("2")
    digest = Digest.of(MANIFEST)
    origin.at("app").manifests[digest] = OCI_MANIFEST, MANIFEST + b" "
    with pytest.raises(VerificationError, match="it hashes to"):
        await image.manifest("1")
    origin.at("app").manifests[digest] = OCI_MANIFEST, b" " * (MANIFEST_LIMIT + 1)
    with pytest.raises(RemoteError, match="longer than"):
        await image.manifest("1")


async def test_a_blob_from_an_offset(image: RegistryImage, origin) -> None:
    digest = origin.put_blob("app", b"0123456789")
    async with image.blob(digest, 4) as (begins, parts):
        assert begins == 4
        assert b"".join([part async for part in parts]) == b"456789"


async def test_referrers(image: RegistryImage, origin) -> None:
    subject = Digest.of(MANIFEST)
    assert await image.referrers(subject) == ()
    entry = b'{"mediaType":"a/b","digest":"%s","size":2}' % str(Digest.of(b"{}")).encode()
    origin.at("app").referrers[subject] = b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (
        OCI_INDEX.encode(),
        entry,
    )
    assert [found.digest for found in await image.referrers(subject)] == [Digest.of(b"{}")]
