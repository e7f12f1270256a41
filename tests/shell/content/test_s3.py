"""Shared content in S3, against a real server."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.content.api import ContentContext
from p2p.content.s3 import AGAIN_SECONDS, BROKEN_SECONDS, LARGE_PUTS, PART, S3Content, open_s3
from p2p.errors import ConfigError, ContentError, ContentMissingError, ContentRefusedError
from tests.support.content_suite import KEY, LARGE, ContentSuite, keys, put, read
from tests.support.moto_server import KEYS, S3Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from obstore.store import S3Store

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    directory = Path(tempfile.mkdtemp(prefix="remora-s3-"))
    try:
        with S3Server(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def opened(url: str, options: Sequence[str]) -> AsyncIterator[S3Content]:
    async with open_s3(ContentContext(url, tuple(options))) as content:
        yield content


class TestS3(ContentSuite):
    @pytest.fixture
    async def content(self, server: S3Server) -> AsyncIterator[S3Content]:
        url = server.make_bucket(f"suite-{next(_NUMBERS)}")
        async with opened(f"{url}/some/prefix", server.options) as content:
            yield content


async def test_a_prefix_keeps_others_out(server: S3Server) -> None:
    url = server.make_bucket("prefixes")
    async with (
        opened(url, server.options) as whole,
        opened(f"{url}/a", server.options) as one,
        opened(f"{url}/ab/", server.options) as other,
    ):
        await put(one, KEY, b"one")
        await put(other, KEY, b"other")
        assert await read(one, KEY) == b"one"
        assert await keys(one) == [KEY]
        assert await keys(whole) == [f"a/{KEY}", f"ab/{KEY}"]


async def test_no_such_bucket(server: S3Server) -> None:
    async with opened("s3://nothing-here", server.options) as content:
        for work in (partial(keys, content), partial(put, content, KEY, b"x"), partial(read, content, KEY)):
            with pytest.raises(ContentRefusedError, match=r"s3://nothing-here: there is no such bucket"):
                await work()


class Answering:
    """A server that gives one answer to everything, and knows what it was asked."""

    def __init__(self, status: bytes, body: bytes = b"") -> None:
        self._answer = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
            status,
            len(body),
            body,
        )
        self.asked: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            self.asked.append(head)
            await stream.send_all(self._answer)
            await stream.send_eof()


@asynccontextmanager
async def answering(one: Answering) -> AsyncIterator[tuple[str, ...]]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, one.serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        yield f"endpoint=http://127.0.0.1:{port}", "region=us-east-1"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
async def test_credentials_that_are_refused(code: str) -> None:
    one = Answering(b"403 Forbidden", b"<Error><Code>%b</Code></Error>" % code.encode())
    async with answering(one) as options, opened("s3://bucket", options) as content:
        with pytest.raises(ContentRefusedError, match=rf"s3://bucket: .*{code}.*AWS_ACCESS_KEY_ID") as raised:
            await put(content, KEY, b"x")
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)
        with pytest.raises(ContentRefusedError):
            await read(content, KEY)
    assert KEYS["AWS_ACCESS_KEY_ID"].encode() in one.asked[0]


@pytest.mark.slow
async def test_errors_of_the_server_are_tried_again_and_then_told() -> None:
    one = Answering(b"500 Internal Server Error", b"<Error><Code>InternalError</Code></Error>")
    async with answering(one) as options, opened("s3://bucket", options) as content:
        with pytest.raises(ContentError, match=r"s3://bucket: its list: it answered 500.*runs") as raised:
            await keys(content)
        assert len(one.asked) == 2
        assert raised.value.retry_after == AGAIN_SECONDS
        with pytest.raises(ContentError, match="it answered 500"):
            await put(content, KEY, b"x")
        assert len(one.asked) == 2 + 5


async def test_a_bad_answer_that_passes(server: S3Server) -> None:
    """Between us and the server: fails once, then lets through."""
    url = server.make_bucket("flaky")
    failures = [b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]

    async def proxy(stream: trio.SocketStream) -> None:
        async with stream, await trio.open_tcp_stream("127.0.0.1", server.port) as behind:
            if failures:
                await stream.receive_some()
                await stream.send_all(failures.pop())
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, stream, behind)
                await pump(behind, stream)
                nursery.cancel_scope.cancel()

    async def pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, proxy, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with opened(url, (f"endpoint=http://127.0.0.1:{port}", "region=us-east-1")) as content:
            await put(content, KEY, b"hello")
            assert not failures
            assert await read(content, KEY) == b"hello"
        nursery.cancel_scope.cancel()


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads is told so before a client gives up; the thread that waits is left to its own end."""
    monkeypatch.setattr("p2p.content.s3.READ_SECONDS", 0.3)
    asked = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            asked.set()
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, silent, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with opened(
            "s3://bucket", (f"endpoint=http://127.0.0.1:{port}", "region=us-east-1")
        ) as content:
            with trio.fail_after(5), pytest.raises(ContentError, match=r"s3://bucket: ") as raised:
                await read(content, KEY)
            assert raised.value.retry_after == AGAIN_SECONDS
            asked = trio.Event()
            with trio.fail_after(5):
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(put, content, KEY, b"x")
                    await asked.wait()
                    waiting.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_server_that_is_gone(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        url = server.make_bucket("bucket")
        async with opened(url, server.options) as content:
            await put(content, KEY, b"hello")
            server.kill()
            for work in (
                partial(keys, content),
                partial(read, content, KEY),
                partial(put, content, KEY, b"x"),
                partial(content.remove, KEY),
            ):
                with pytest.raises(ContentError, match=r"s3://bucket: .*Check that the server") as raised:
                    await work()
                assert type(raised.value) is ContentError
            # It comes back, empty.
            server.start()
            server.make_bucket("bucket")
            with pytest.raises(ContentMissingError):
                await read(content, KEY)
            await put(content, KEY, b"hello")
            assert await read(content, KEY) == b"hello"


@pytest.mark.slow
async def test_a_server_that_dies_while_a_large_one_is_put_and_read(tmp_path: Path) -> None:
    data = bytes(LARGE)
    with S3Server(tmp_path) as server:
        url = server.make_bucket("bucket")
        async with opened(url, server.options) as content:
            await put(content, "read", data)
            async with content.open("read") as body:
                buffer = memoryview(bytearray(LARGE))
                assert await body.read_into(buffer[:10]) == 10
                server.kill()
                with pytest.raises(ContentError) as raised:
                    await body.read_into(buffer)
                assert raised.value.retry_after == BROKEN_SECONDS
            server.start()
            server.make_bucket("bucket")
            # Stopped, it takes what the kernel takes for it and no more: then it dies.
            server._popen.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, server.kill)
                with pytest.raises(ContentError):
                    await put(content, KEY, data)
            server.start()
            server.make_bucket("bucket")
            assert await keys(content) == []
            await put(content, KEY, data)
            assert await read(content, KEY) == data


async def test_a_large_one_goes_in_parts(server: S3Server) -> None:
    url = server.make_bucket("parts")
    async with opened(url, server.options) as content:
        await put(content, KEY, bytes(2 * PART + 1))
        await put(content, "small", bytes(PART))
        tags = {one["path"]: one["e_tag"] for page in content._reads.list() for one in page}
    assert str(tags[KEY]).strip('"').endswith("-3")
    assert "-" not in str(tags["small"])


class Counting:
    """A store whose puts are counted while they are under way."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.now = self.most = 0

    def put(self, *args: Any, **more: Any) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self._store.put(*args, **more)
        with self._lock:
            self.now -= 1


@pytest.mark.slow
async def test_large_ones_take_turns_for_the_memory_they_need(server: S3Server) -> None:
    url = server.make_bucket("turns")
    async with opened(url, server.options) as content:
        counting = content._writes = Counting(content._writes)  # type: ignore[assignment]
        async with trio.open_nursery() as nursery:
            for number in range(3 * LARGE_PUTS):
                nursery.start_soon(put, content, f"large {number}", bytes(PART // 2))
        assert counting.most <= LARGE_PUTS


@pytest.mark.parametrize("url", ["s3:///x", "s3://user:word@bucket", "s3://bucket?x=1", "s3://bucket:80"])
async def test_urls_that_name_no_bucket(url: str) -> None:
    with pytest.raises(ConfigError, match="names no bucket") as raised:
        async with opened(url, ()):
            raise AssertionError
    assert "word" not in str(raised.value)


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        ("secret_access_key=x", "no option 'secret_access_key'.*environment"),
        ("region=", "region has no value"),
        ("ca_file=/none", "ca_file /none: No such file"),
    ],
)
async def test_options_that_are_none(option: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        async with opened("s3://bucket", (option,)):
            raise AssertionError


def test_it_is_loaded_only_where_it_is_used() -> None:
    code = """
import sys, trio
import p2p.node.daemon, p2p.content.factory, p2p.content.s3
from p2p.content.factory import open_content
async def main():
    async with open_content("file:///"): pass
trio.run(main)
assert not {"obstore", "boto3"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
