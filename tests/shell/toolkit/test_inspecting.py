import json

import pytest

from p2p.core.oci.reference import Reference
from p2p.errors import RemoteError, VerificationError
from p2p.origin.memory import MemoryDestination, MemoryOrigin
from p2p.toolkit.api import Teller
from p2p.toolkit.inspecting import CONFIG_LIMIT, inspect_image, summarise
from p2p.toolkit.layout_image import LayoutImage
from p2p.toolkit.pushing import Target, push_image
from p2p.toolkit.registry_image import RegistryImage
from tests.support.toolkit_rig import SIGNATURE, Made


@pytest.fixture
async def origin(made: Made) -> MemoryOrigin:
    origin = MemoryOrigin()
    for name in ("multi", "one", "signature"):
        goal = Target(MemoryDestination(origin), origin, Reference.parse(f"memory.test/app:{name}"))
        await push_image(LayoutImage(made.root), name, goal, Teller())
    return origin


async def inspect(origin: MemoryOrigin, tag: str):
    return await inspect_image(RegistryImage(origin, "app", "app"), tag, f"memory.test/app:{tag}")


async def test_an_index(origin, made: Made) -> None:
    repository = origin.at("app")
    tag = made.multi.digest.replace(":", "-")
    inspected = await inspect(origin, "multi")
    repository.referrers[inspected.digest] = repository.manifests[repository.tags[tag]][1]
    inspected = await inspect(origin, "multi")
    assert str(inspected.digest) == made.multi.digest
    assert inspected.platforms == ("linux/amd64", "linux/arm64")
    assert inspected.data == made.multi.top.path.read_bytes()
    assert [str(referrer.digest) for referrer in inspected.referrers] == [made.signature.digest]
    (amd64, _) = inspected.parts
    assert amd64.size == sum(blob.size for blob in made.one.blobs)
    assert amd64.config is not None
    assert amd64.config.command == ("/none",)
    assert amd64.config.labels == (("layers", "2"),)


async def test_one_image_gets_its_platform_from_its_configuration(origin) -> None:
    inspected = await inspect(origin, "one")
    assert inspected.platforms == ("linux/amd64",)
    assert len(inspected.parts) == 1


async def test_an_artifact_has_no_platform_and_no_configuration(origin) -> None:
    inspected = await inspect(origin, "signature")
    assert inspected.platforms == ()
    (part,) = inspected.parts
    assert (part.artifact_type, part.config) == (SIGNATURE, None)
    assert part.annotations == (("by", "the tests"),)


async def test_a_wrong_configuration_is_not_believed(origin, made: Made) -> None:
    blobs = origin.at("app").blobs
    for digest in blobs:
        if str(digest) == made.one.blobs[0].digest:
            blobs[digest] = b" " * made.one.blobs[0].size
    with pytest.RaisesGroup(VerificationError):
        await inspect(origin, "one")


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff"])
def test_what_is_no_configuration(data: bytes) -> None:
    with pytest.raises(RemoteError, match="configuration is"):
        summarise(data, "x")


def test_values_of_a_wrong_type_are_absent() -> None:
    document = {
        "os": 1,
        "config": {"Env": "x", "Labels": [], "ExposedPorts": {"80/tcp": {}}, "Cmd": [1, "a"]},
    }
    found = summarise(json.dumps(document).encode(), "x")
    assert (found.os, found.env, found.labels, found.ports, found.command) == (
        "",
        (),
        (),
        ("80/tcp",),
        ("a",),
    )
    assert summarise(b'{"config":7}', "x").user == ""
    assert CONFIG_LIMIT >= 1 << 20
