from p2p.cli.checks import Verdict
from p2p.cli.network_checks import check_network, check_tracker, check_upstream
from p2p.config import NodeSettings, UpstreamSettings
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import Welcome


async def test_tracker(open_tracker_twin) -> None:
    async with open_tracker_twin([[Welcome(PROTOCOL_VERSION, 1.0, "")]]) as twin:
        assert (await check_tracker(twin.url)).verdict is Verdict.GOOD
    finding = await check_tracker("ws://127.0.0.1:1")
    assert finding.verdict is Verdict.BAD
    assert "remora tracker" in finding.mend
    found = await check_network(NodeSettings(tracker=("ws://127.0.0.1:1",)), upstreams=False)
    assert [finding.thing for finding in found] == ["tracker"]
    assert await check_network(NodeSettings(), upstreams=False) == []


async def test_upstream(registry, open_server) -> None:
    async with open_server(registry.handle) as url:
        for status, verdict in ((401, Verdict.GOOD), (500, Verdict.BAD)):
            registry.status[""] = status
            assert (await check_upstream("hub", UpstreamSettings(url=url))).verdict is verdict
    finding = await check_upstream("hub", UpstreamSettings(url="http://127.0.0.1:1"))
    assert finding.verdict is Verdict.BAD
    assert finding.thing == "upstream hub"
    assert finding.mend
