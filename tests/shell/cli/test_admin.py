import json
from pathlib import Path

import pytest
import trio

from p2p.cli.admin import ask, follow, socket_path
from p2p.core.oci.error import RegistryError
from p2p.errors import LocalError, RemoteError
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, Request, Response, Takeover
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


async def test_following(tmp_path: Path) -> None:
    state, left = str(tmp_path), trio.Event()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    bodies = {
        "/whole": b'{"a": 1}\n\n\n{"summary": {}}\n',
        "/failing": b'{"a": 1}\n{"error": "disk: full"}\n',
        "/cut": b'{"a": 1}\n',
        "/endless": b'{"a": 1}\n',
    }

    async def answer_in_lines(request: Request) -> Response:
        assert request.method == "POST"
        if request.path not in bodies:
            raise RegistryError("BLOB_UNKNOWN", "it is not here")

        async def run(stream: trio.abc.Stream) -> None:
            await stream.send_all(head + bodies[request.path])
            while request.path == "/endless" and await stream.receive_some(4096):
                pass
            left.set()

        return Response(200, body=Takeover(run))

    def lines(path: str) -> list[object]:
        return list(follow(state, path, [("digest", "a:b")]))

    def first(path: str) -> object:
        following = follow(state, path)
        try:
            return next(following)
        finally:
            following.close()

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners(f"unix:{socket_path(state)}")
        server = await nursery.start(serve, answer_in_lines, listeners)
        assert await trio.to_thread.run_sync(lines, "/whole") == [{"a": 1}, {"summary": {}}]
        for path, words in (("/failing", "disk: full"), ("/cut", "before the end"), ("/no", "not here")):
            with pytest.raises(RemoteError, match=words):
                await trio.to_thread.run_sync(lines, path)
        left = trio.Event()
        assert await trio.to_thread.run_sync(first, "/endless") == {"a": 1}
        with trio.fail_after(5):
            await left.wait()
        server.stop()


def test_no_node(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"no node is running there\. Start one"):
        ask(str(tmp_path), "/status")
