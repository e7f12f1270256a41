import json
from pathlib import Path

import pytest
import trio

from p2p.cli.admin import ask, socket_path
from p2p.core.oci.error import RegistryError
from p2p.errors import LocalError, RemoteError
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, Request, Response
from p2p.net.server import serve


async def answer(request: Request) -> Response:
    if request.path == "/status":
        return Response(200, body=Content(json.dumps({"query": request.query}).encode()))
    if request.path == "/text":
        return Response(200, body=Content(b"hello"))
    return Response(404, body=Content(RegistryError("UNSUPPORTED", "not here").body()))


async def test_asking(tmp_path: Path) -> None:
    state = str(tmp_path)
    async with trio.open_nursery() as nursery:
        listeners = await open_listeners(f"unix:{socket_path(state)}")
        server = await nursery.start(serve, answer, listeners)
        assert await trio.to_thread.run_sync(ask, state, "/status", {"digest": "a:b"}) == {
            "query": "digest=a%3Ab"
        }
        with pytest.raises(RemoteError, match="not here"):
            await trio.to_thread.run_sync(ask, state, "/other")
        with pytest.raises(RemoteError, match="status 200"):
            await trio.to_thread.run_sync(ask, state, "/text")
        server.stop()


def test_no_node(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"no node is running there\. Start one"):
        ask(str(tmp_path), "/status")
