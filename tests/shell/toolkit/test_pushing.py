import pytest

from p2p.core.oci.descriptor import Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Reference
from p2p.errors import RemoteError
from p2p.origin.memory import MemoryDestination, MemoryOrigin
from p2p.toolkit.api import BlobAdvanced, BlobBegan, Event, Teller
from p2p.toolkit.layout_image import LayoutImage
from p2p.toolkit.pushing import Target, content_of, push_image
from p2p.toolkit.registry_image import RegistryImage
from tests.support.toolkit_rig import Made

ARM = Platform("linux", "arm64")


@pytest.fixture
def origin() -> MemoryOrigin:
    return MemoryOrigin()


def target(origin: MemoryOrigin, reference: str = "memory.test/app:1") -> Target:
    return Target(MemoryDestination(origin), origin, Reference.parse(reference))


async def push(origin: MemoryOrigin, made: Made, name: str = "multi", **options):
    image = LayoutImage(made.root)
    goal = target(origin, options.pop("to", "memory.test/app:1"))
    return await push_image(image, name, goal, Teller(options.pop("listener", None)), **options)


async def test_a_whole_index_children_first_and_the_tag_last(origin, made: Made) -> None:
    pushed = await push(origin, made)
    assert str(pushed.digest) == made.multi.digest
    assert (pushed.manifests, pushed.uploaded, pushed.skipped) == (3, 5, 0)
    sizes = {blob.digest: blob.size for blob in made.multi.blobs}
    assert pushed.uploaded_bytes == sum(sizes.values())
    puts = [detail for what, _, detail in origin.requests if what == "put_manifest"]
    assert puts == [*(manifest.digest for manifest in made.multi.manifests), "1"]
    kinds = [what for what, _, _ in origin.requests]
    assert kinds.index("put_manifest") > len(kinds) - 1 - kinds[::-1].index("upload_blob")
    again = await push(origin, made)
    assert (again.uploaded, again.skipped, again.skipped_bytes) == (0, 5, pushed.uploaded_bytes)


async def test_one_platform(origin, made: Made) -> None:
    pushed = await push(origin, made, platform=ARM)
    assert pushed.manifests == 1
    assert str(pushed.digest) == made.multi.manifests[1].digest
    with pytest.raises(RemoteError, match="not made for linux/s390x"):
        await push(origin, made, platform=Platform("linux", "s390x"))


async def test_a_digest_that_was_asked_for_must_be_what_is_pushed(origin, made: Made) -> None:
    await push(origin, made, to=f"memory.test/app@{made.multi.digest}")
    assert origin.at("app").tags == {}
    with pytest.raises(RemoteError, match="what is pushed is"):
        await push(origin, made, to=f"memory.test/app@{made.one.digest}")


async def test_referrers_come_along_and_are_listed(origin, made: Made) -> None:
    pushed = await push(origin, made, referrers=True)
    assert (pushed.manifests, pushed.referrers) == (4, 1)
    repository = origin.at("app")
    assert Digest.parse(made.signature.digest) in repository.manifests
    tag = made.multi.digest.replace(":", "-")
    # A registry that does not say that it knows the subject gets the list by its tag.
    assert made.signature.digest in repository.manifests[repository.tags[tag]][1].decode()


async def test_mounts_at_the_same_registry(origin, made: Made) -> None:
    await push(origin, made)
    source = RegistryImage(origin, "app", "memory.test/app:1")
    goal = target(origin, "memory.test/other:2")
    copied = await push_image(source, "1", goal, Teller(), mount_from="app")
    assert (copied.mounted, copied.uploaded) == (5, 0)
    assert copied.mounted_bytes > 0
    assert origin.at("other").tags["2"] == copied.digest


async def test_what_is_told(origin, made: Made) -> None:
    heard: list[Event] = []
    await push(origin, made, "one", listener=heard.append)
    begun = {event.digest: event for event in heard if isinstance(event, BlobBegan)}
    ended = {event.digest: event.held for event in heard if isinstance(event, BlobAdvanced)}
    assert {digest: event.size for digest, event in begun.items()} == ended
    heard.clear()
    await push(origin, made, "one", listener=heard.append)
    assert all(isinstance(event, BlobBegan) and event.held == event.size for event in heard)


async def test_a_foreign_layer_is_not_asked_for(origin, made: Made) -> None:
    layer = made.layout.add(b"of others", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    made.layout.image([layer], tag="foreign")
    layer.path.unlink()
    pushed = await push(origin, made, "foreign")
    assert (pushed.uploaded, pushed.skipped) == (1, 1)


async def test_a_source_that_begins_before_the_offset() -> None:
    class Rangeless:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def blob(self, digest: Digest, offset: int):
            async def parts():
                for part in (b"0123", b"4567", b"89"):
                    yield part

            yield 0, parts()

    data = b"0123456789"
    blob = Descriptor("a/b", Digest.of(data), len(data))
    async with content_of(Rangeless(), blob, Teller())(6) as parts:
        assert b"".join([part async for part in parts]) == b"6789"
