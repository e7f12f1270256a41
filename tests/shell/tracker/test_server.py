from __future__ import annotations

import json

import httpx
import pytest
import trio

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.errors import ConfigError, PortInUseError
from tracker.server import check_address, run
from tracker.settings import TrackerSettings


@pytest.fixture
async def address(nursery):
    server = await nursery.start(run, TrackerSettings(listen="127.0.0.1:0", allowed_hosts=("Board.example",)))
    yield server.addresses[0]
    server.stop()


async def get(address, path, **options):
    async with httpx.AsyncClient() as client:
        return await client.request(options.pop("method", "GET"), f"http://{address}{path}", **options)


@pytest.mark.slow
async def test_health_and_metrics(address):
    assert (await get(address, "/healthz")).text == "ok\n"
    assert (await get(address, "/readyz")).status_code == 200
    answer = await get(address, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'remora_tracker_nodes{state="connected"} 0.0' in answer.text
    assert (await get(address, "/nope")).status_code == 404
    assert (await get(address, "/ws")).status_code == 426
    assert (await get(address, "/", method="POST")).status_code == 405
    assert (await get(address, "/", method="HEAD")).text == ""


@pytest.mark.slow
async def test_nodes_and_dashboard(address, speaker):
    async with speaker(address) as a:
        await (await a.hello("node-a")).hear(wire.Welcome)
        (row,) = (await get(address, "/api/nodes")).json()["nodes"]
        assert (row["name"], row["host"], row["connected"]) == ("node-a", "127.0.0.1", True)
        page = await get(address, "/")
        assert "node-a" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert json.loads((await get(address, "/api/nodes")).text)["protocol"] == PROTOCOL_VERSION


@pytest.mark.slow
async def test_a_rebound_name_reads_nothing(address):
    for host, status in (
        ("evil.example", 403),
        ("localhost:1", 200),
        ("[::1]:5", 200),
        ("board.example", 200),
    ):
        assert (await get(address, "/api/nodes", headers={"host": host})).status_code == status
        assert (await get(address, "/", headers={"host": host})).status_code == status


async def test_a_browsers_websocket_is_refused(address):
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "origin": f"http://{address}",
    }
    assert (await get(address, "/ws", headers=headers)).status_code == 403


async def test_a_stop_ends_connections_too(speaker):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run, TrackerSettings(listen="127.0.0.1:0"))
        async with speaker(server.addresses[0]) as a:
            await (await a.hello("a")).hear(wire.Welcome)
            server.stop()
            await a.closed()
        with trio.fail_after(5):
            await server.wait_stopping()


async def test_a_port_in_use_is_named(nursery):
    server = await nursery.start(run, TrackerSettings(listen="127.0.0.1:0"))
    with pytest.raises(PortInUseError, match=server.addresses[0]):
        await run(TrackerSettings(listen=server.addresses[0]))
    server.stop()


def test_beyond_loopback_only_when_told():
    for listen in ("0.0.0.0:5010", "[::]:5010", "192.0.2.1:5010", "tracker.example:5010"):
        with pytest.raises(ConfigError, match="insecure"):
            check_address(TrackerSettings(listen=listen))
        check_address(TrackerSettings(listen=listen, insecure=True))
    for listen in ("127.0.0.1:5010", "[::1]:0", "localhost:5010"):
        check_address(TrackerSettings(listen=listen))
    with pytest.raises(ConfigError):
        check_address(TrackerSettings(listen="5010"))
