"""The origin client against a real docker-registry: every request of a pull, counted there."""

import hashlib
import json

import pytest

from p2p.config import UpstreamSettings
from p2p.core.oci.digest import Digest
from p2p.errors import OriginNotFoundError
from p2p.origin.api import Kind
from p2p.origin.body import Tuning
from p2p.origin.client import RegistryOrigin
from tests.support.images import MIB, OciLayout
from tests.support.registry_origin import DockerRegistry

TUNINGS = {
    "adaptive": Tuning(),
    "one connection": Tuning(streams=1),
    "several": Tuning(first=4 * MIB, parallel_from=8 * MIB, slow=1e18, patience=0.0),
}


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS.keys())
async def test_a_pull(tmp_path, tuning):
    layout = OciLayout(tmp_path / "layout")
    large = layout.layer("large", 80 * MIB, seed=1)
    small = layout.layer("small", 1000, seed=2)
    image = layout.image([large, small])
    with DockerRegistry(tmp_path) as registry:
        registry.push("lib/app", image, "v1", "v2")
        registry.traffic()
        settings = UpstreamSettings(url=f"http://{registry.address}")
        async with RegistryOrigin(
            "real", settings, user_agent="remora", environment={}, tuning=tuning
        ) as origin:
            top = await origin.head("lib/app", "v1")
            assert (str(top.digest), top.size) == (image.top.digest, image.top.size)
            async with origin.open("lib/app", top.digest, Kind.MANIFEST) as body:
                data = b"".join([part async for part in body])
            assert str(Digest.of(data)) == image.top.digest
            assert body.media_type == image.top.media_type
            for content in image.blobs:
                digest = Digest.parse(content.digest)
                assert (await origin.head_blob("lib/app", digest)).size == content.size
                hasher = hashlib.sha256()
                async with origin.open("lib/app", digest, Kind.BLOB) as body:
                    assert body.size == content.size
                    async for part in body:
                        hasher.update(part)
                assert hasher.hexdigest() == digest.hex
            assert json.loads((await origin.tags("lib/app", None, None)).data)["tags"] == ["v1", "v2"]
            referrers = await origin.referrers("lib/app", top.digest, None)
            assert json.loads(referrers.data)["manifests"] == []
            with pytest.raises(OriginNotFoundError):
                await origin.head("lib/app", "none")
        traffic = registry.traffic()
        assert traffic.copies([*image.blobs, image.top]) == 1.0
        assert traffic.gets(small.digest) == 1
        assert traffic.gets(image.top.digest) == 1
        assert traffic.heads("v1") == 1
        assert traffic.user_agents == {"remora"}
