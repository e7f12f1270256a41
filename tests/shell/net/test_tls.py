"""Real handshakes with real certificates."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from p2p.config import ServerLimits
from p2p.errors import ConfigError
from p2p.net.listeners import open_listeners
from p2p.net.server import Server, serve
from p2p.net.tls import HTTP_ON_TLS_PORT, TlsFiles, load_context
from tests.support.http_rig import Client, hello, until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Files:
    """A certificate and a key where a server looks for them."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self._authority = authority

    def issue(self, *, cert: bool = True, key: bool = True, name: str = "localhost") -> int:
        """Write a new pair, or one of its files; gives the certificate's serial number."""
        issued = self._authority.issue_cert(name)
        if cert:
            self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        if key:
            self.key.write_bytes(issued.private_key_pem.bytes())
        return serial(issued.cert_chain_pems[0].bytes())


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Files:
    return Files(tmp_path, authority)


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def serving(tls: TlsFiles) -> AsyncIterator[Server]:
    listeners = await open_listeners("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            lambda task_status: serve(
                hello, listeners, ServerLimits(header_timeout=5), tls=tls, task_status=task_status
            )
        )
        try:
            yield server
        finally:
            server.stop()


def port(server: Server) -> int:
    return int(server.addresses[0].rpartition(":")[2])


async def shake(server: Server, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(
        "localhost", port(server), ssl_context=context, https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def serial_served(server: Server, context: ssl.SSLContext) -> int:
    stream = await shake(server, context)
    try:
        der: bytes = stream.getpeercert(binary_form=True)
        assert (await Client(stream).get("/x")).body == b"hello /x"
        return x509.load_der_x509_certificate(der).serial_number
    finally:
        await trio.aclose_forcefully(stream)


async def test_a_new_certificate_is_served_and_open_connections_stay(
    files: Files, trusting: ssl.SSLContext
) -> None:
    first = files.issue()
    async with serving(TlsFiles(files.cert, files.key)) as server:
        open_one = await shake(server, trusting)
        assert await serial_served(server, trusting) == first
        second = files.issue()
        assert second != first
        assert await serial_served(server, trusting) == second
        assert (await Client(open_one).get("/still")).body == b"hello /still"
        await trio.aclose_forcefully(open_one)


async def test_a_change_that_can_t_be_used_leaves_the_old(files: Files, trusting: ssl.SSLContext) -> None:
    first = files.issue()
    with structlog.testing.capture_logs() as logs:
        async with serving(TlsFiles(files.cert, files.key)) as server:
            for spoil in (
                lambda: files.issue(key=False),
                lambda: files.cert.write_text("no certificate"),
                lambda: files.key.unlink(),
            ):
                spoil()
                for _ in range(2):
                    assert await serial_served(server, trusting) == first
            last = files.issue()
            assert await serial_served(server, trusting) == last
    events = [entry["event"] for entry in logs]
    assert events == ["certificate not reloaded: the one before stays"] * 3 + ["certificate reloaded"]


async def test_plain_http_is_told_what_is_wrong(files: Files, trusting: ssl.SSLContext) -> None:
    files.issue()
    async with serving(TlsFiles(files.cert, files.key)) as server:
        for line in (b"GET /v2/", b"POST /v2/", b"HEAD /v2/", b"PUT /v2/x", b"CONNECT x:443"):
            async with await trio.open_tcp_stream("127.0.0.1", port(server)) as stream:
                await stream.send_all(line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await Client(stream).rest() == HTTP_ON_TLS_PORT
        await until(lambda: server.statistics().connections == 0)
        assert await serial_served(server, trusting), "others are served as before"


async def test_garbage_gets_no_http(files: Files) -> None:
    files.issue()
    async with serving(TlsFiles(files.cert, files.key)) as server:
        async with await trio.open_tcp_stream("127.0.0.1", port(server)) as stream:
            await stream.send_all(b"\x00" * 64)
            assert b"HTTP/1" not in await Client(stream).rest()
        await until(lambda: server.statistics().connections == 0)


async def test_a_client_that_leaves_before_it_is_told(files: Files) -> None:
    files.issue()
    async with serving(TlsFiles(files.cert, files.key)) as server:
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port(server))
            stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of 0: closing resets
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await stream.aclose()
        await until(lambda: server.statistics().connections == 0)


async def test_versions(files: Files, trusting: ssl.SSLContext) -> None:
    files.issue()
    async with serving(TlsFiles(files.cert, files.key)) as server:
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            trusting.minimum_version = trusting.maximum_version = version
            trusting.set_alpn_protocols(["h2", "http/1.1"])
            stream = await shake(server, trusting)
            assert (stream.version(), stream.selected_alpn_protocol()) == (name, "http/1.1")
            await trio.aclose_forcefully(stream)


def test_nothing_older_than_1_2(files: Files) -> None:
    files.issue()
    assert load_context(files.cert, files.key).minimum_version == ssl.TLSVersion.TLSv1_2


def encrypted(pem: bytes) -> bytes:
    key: Any = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("fault", ["missing", "garbage", "mismatch", "passphrase"])
def test_a_start_with_bad_files(files: Files, fault: str) -> None:
    files.issue()
    cause = ""
    match fault:
        case "missing":
            files.key.unlink()
        case "garbage":
            files.cert.write_text("no certificate")
        case "mismatch":
            files.issue(key=False)
        case _:
            files.key.write_bytes(encrypted(files.key.read_bytes()))
            cause = "the key has a passphrase"  # and nobody was asked for it on the terminal
    with pytest.raises(ConfigError, match=rf"tls\.cert_file .*tls\.key_file .*can't be used: .*{cause}.*PEM"):
        TlsFiles(files.cert, files.key)
