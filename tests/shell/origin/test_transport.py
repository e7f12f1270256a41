import ssl

import httpx
import pytest
import trio

from p2p.config import UpstreamSettings
from p2p.errors import ConfigError, OriginUnreachableError
from p2p.origin.addresses import AddressPolicy
from p2p.origin.session import Ask
from p2p.origin.transport import Outgoing, Stream, Transport
from tests.support.upstream import Reply, upstream

POLICY = AddressPolicy("127.0.0.1")
EXTENSIONS = {"timeout": {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}}
ASK = Ask("GET", "/v2/", "a")


async def get(transport: Transport, url: str) -> httpx.Response:
    return await transport.handle_async_request(httpx.Request("GET", url, extensions=EXTENSIONS))


async def whole(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, Stream)
    data = b"".join([part async for part in response.stream])
    await response.stream.aclose()
    return data


async def test_connections_are_kept():
    async with upstream(lambda r: Reply(200, b"x" * 200_000)) as server:
        transport = Transport("up", POLICY)
        for _ in range(5):
            assert len(await whole(await get(transport, server.url()))) == 200_000
        assert server.connections == 1
        await transport.aclose()


async def test_a_stream_may_be_left_at_any_point():
    async with upstream(lambda r: Reply(200, b"x" * 4_000_000)) as server:
        transport = Transport("up", POLICY)
        for parts in (0, 1, 2):
            response = await get(transport, server.url())
            assert isinstance(response.stream, Stream)
            for _ in range(parts):
                assert await anext(response.stream)
            await response.stream.aclose()
            await response.stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(response.stream)
        assert server.connections == 3
        assert not any(pool.connections for pool in transport._pools.values())
        await transport.aclose()


async def test_cancelled_between_connecting_and_sending_it_keeps_no_place(monkeypatch):
    async with upstream(lambda r: Reply(200, b"x")) as server:
        transport = Transport("up", POLICY)
        connect_tcp = transport._backend.connect_tcp
        scope = trio.CancelScope()

        async def cancelled_meanwhile(*args: object, **more: object) -> object:
            stream = await connect_tcp(*args, **more)
            scope.cancel()
            return stream

        with monkeypatch.context() as patch, scope:
            patch.setattr(transport._backend, "connect_tcp", cancelled_meanwhile)
            await get(transport, server.url())
        assert scope.cancelled_caught
        assert not any(pool.connections for pool in transport._pools.values())
        assert await whole(await get(transport, server.url())) == b"x"
        await transport.aclose()


async def test_a_kept_connection_that_the_server_drops_meanwhile_is_no_error():
    """The server answers twice on each connection and closes it on the third request without a word."""
    counts = [0]

    async def serve(stream: trio.SocketStream) -> None:
        counts[0] += 1
        for _ in range(2):
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
        await stream.receive_some()
        await stream.aclose()

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        transport = Transport("up", POLICY)
        for _ in range(5):
            assert await whole(await get(transport, url)) == b"x"
        assert counts == [3]
        await transport.aclose()
        nursery.cancel_scope.cancel()


async def test_a_connection_closed_without_an_answer_is_an_error_on_a_fresh_one():
    async def slam(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, slam, [listener])
        transport = Transport("up", POLICY)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(transport, f"http://127.0.0.1:{listener.socket.getsockname()[1]}/")
        await transport.aclose()
        nursery.cancel_scope.cancel()


def server_context(authority, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.slow
async def test_tls_with_a_ca_of_its_own(authority, connect, tmp_path):
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = server_context(authority, "127.0.0.1")
    async with upstream(lambda r: Reply(200, b"safe"), tls=context) as server:
        async with connect(server.url(scheme="https"), ca_file=str(ca_file)) as origin:
            for _ in range(2):
                answer = await origin.session.send(ASK)
                assert await answer.read(10, "it") == b"safe"
            assert server.connections == 1
        async with connect(server.url(scheme="https")) as origin:
            with pytest.raises(OriginUnreachableError, match=r"not trusted.*ca_file"):
                await origin.session.send(ASK)


@pytest.mark.slow
async def test_tls_for_another_name(authority, connect, tmp_path):
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = server_context(authority, "other.example")
    async with (
        upstream(lambda r: Reply(200, b"safe"), tls=context) as server,
        connect(server.url(scheme="https"), ca_file=str(ca_file)) as origin,
    ):
        with pytest.raises(OriginUnreachableError, match="not trusted"):
            await origin.session.send(ASK)


async def test_tls_with_a_plain_server(connect):
    async with upstream(lambda r: Reply(200)) as server, connect(server.url(scheme="https")) as origin:
        with pytest.raises(OriginUnreachableError, match="TLS"):
            await origin.session.send(ASK)


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_a_bad_ca_file_is_a_config_error(connect, tmp_path, content):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    async with connect("https://127.0.0.1:1", ca_file=str(ca_file)) as origin:
        with pytest.raises(ConfigError, match=r"ca\.pem can't be used"):
            await origin.session.send(ASK)
    assert UpstreamSettings(url="https://x").ca_file == ""


async def test_an_outgoing_body_is_its_iterator():
    class Parts:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    parts = Parts()
    assert aiter(Outgoing(parts)) is parts
