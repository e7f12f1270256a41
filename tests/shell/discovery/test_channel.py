from __future__ import annotations

import pytest
import trio
import trio_websocket

from p2p.discovery import channel
from p2p.discovery.channel import open_channel, parse_url
from p2p.errors import ConfigError


@pytest.mark.parametrize(
    "url", ["", "http://h:1", "ws://", "ws://u@h:1", "ws://h:1/?q", "ws://h:0", "h:5010"]
)
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError):
        parse_url(url)


def test_urls():
    assert parse_url("ws://h:5010") == "ws://h:5010/ws"
    assert parse_url("wss://h/other") == "wss://h/other"
    assert parse_url("ws://[::1]:5010/") == "ws://[::1]:5010/ws"


async def test_the_stream_is_closed_though_the_other_end_broke_off(nursery):
    async def hang_up(request):
        await request.accept()
        raise SystemError

    async def serve(*, task_status):
        try:
            await trio_websocket.serve_websocket(hang_up, "127.0.0.1", 0, None, task_status=task_status)
        except* SystemError:
            pass

    server = await nursery.start(serve)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_channel(f"ws://127.0.0.1:{server.port}/ws") as socket:
            await socket.get_message()
    assert raised.group_contains(trio_websocket.ConnectionClosed)


async def test_a_server_that_wants_no_websocket(nursery):
    async def refuse(request):
        await request.reject(404)

    server = await nursery.start(trio_websocket.serve_websocket, refuse, "127.0.0.1", 0, None)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_channel(f"ws://127.0.0.1:{server.port}/ws"):
            raise AssertionError("not reached")
    assert raised.group_contains(trio_websocket.ConnectionRejected)
    nursery.cancel_scope.cancel()


async def test_a_silent_server_times_out(nursery, monkeypatch):
    monkeypatch.setattr(channel, "CONNECT_TIMEOUT", 0.05)

    async def silent(stream):
        async with stream:
            await trio.sleep_forever()

    listener, *_ = await nursery.start(trio.serve_tcp, silent, 0)
    port = listener.socket.getsockname()[1]
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_channel(f"ws://localhost:{port}/ws"):
            raise AssertionError("not reached")
    assert raised.group_contains(trio.TooSlowError)
    nursery.cancel_scope.cancel()
