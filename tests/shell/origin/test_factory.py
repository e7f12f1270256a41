import subprocess
import sys

import pytest

from p2p.config import WELL_KNOWN, UpstreamSettings
from p2p.errors import ConfigError, OriginNotFoundError
from p2p.origin.factory import open_origins
from tests.support.upstream import Registry, upstream


async def test_by_name_and_alias_and_nothing_else():
    async with open_origins(WELL_KNOWN) as origins:
        hub = origins.find("docker.io")
        assert hub.name == "docker.io"
        assert origins.find("Registry-1.docker.io") is hub
        assert origins.used == (hub,)
        assert set(origins) == set(WELL_KNOWN)
        for name in ("169.254.169.254", "localhost", "", "https://ghcr.io", "ghcr.io@x"):
            with pytest.raises(OriginNotFoundError, match="no such upstream"):
                origins.find(name)
    assert origins.used == ()


async def test_closed_on_exit():
    registry = Registry()
    registry.add_manifest(b"{}", "a/b", "t")
    async with upstream(registry) as server:
        async with open_origins({"up": UpstreamSettings(url=server.url())}, environment={}) as origins:
            await origins.find("up").head("a", "t")
            pools = list(origins.find("up").session._transport._pools.values())
            assert pools[0].connections
        assert not pools[0].connections


def test_two_upstreams_of_one_name():
    with pytest.raises(ConfigError, match="taken by"):
        open_origins(
            {"a": UpstreamSettings(url="https://a"), "b": UpstreamSettings(url="https://b", aliases=("A",))}
        )


@pytest.mark.slow
def test_a_node_that_asks_no_origin_loads_no_http_client():
    code = "import sys, p2p.origin.factory as f; f.open_origins({}); sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
