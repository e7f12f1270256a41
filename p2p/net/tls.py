"""TLS for a listener: certificate and key from files, taken anew when these change."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.errors import ConfigError
from p2p.net.errors import ClientGoneError
from p2p.net.file_watch import FileWatch
from p2p.net.stream_transport import StreamTransport

if TYPE_CHECKING:
    from pathlib import Path

ContextSource = Callable[[], ssl.SSLContext]
"""Gives the context of the next handshake."""

HTTP_ON_TLS_PORT: Final = (
    b"HTTP/1.0 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)
"""Word for word what Go's server says, which clients and their users know."""

_PLAIN_HTTP: Final = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})
"""OpenSSL's names for a request in place of a ClientHello."""

log = structlog.get_logger(__name__)


def load_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Make a server's context, TLS 1.2 or later; raises ConfigError.

    ``cert_file`` holds the certificate and then those of its issuers, ``key_file`` its key without a
    passphrase; both PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password given OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"tls.cert_file {cert_file}, tls.key_file {key_file}",
            f"can't be used: {error}",
            "Give PEM files of a certificate chain and of its key, without a passphrase",
        ) from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


class TlsFiles:
    """The context for a listener, made anew when its files have changed (``ContextSource``).

    Looks at the files at each handshake. Those that can't be used stop the start (ConfigError); later the
    certificate before the change stays, with a log line for each change that did not work, so that it is
    no matter which of the two files is replaced first. Open connections keep theirs.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._watch = FileWatch(cert_file, key_file)
        self._watch.changed()
        self._context = load_context(cert_file, key_file)

    def __call__(self) -> ssl.SSLContext:
        """Give the context for the next handshake."""
        if self._watch.changed():
            try:
                self._context = load_context(self._cert_file, self._key_file)
            except ConfigError as error:
                log.warning("certificate not reloaded: the one before stays", cause=str(error))
            else:
                log.info("certificate reloaded", file=str(self._cert_file))
        return self._context


class TlsTransport(StreamTransport):
    """One client's connection over TLS. The first receive shakes hands."""

    def __init__(
        self, stream: trio.SSLStream[trio.SocketStream], *, peer: str, timeout: float, rate: int
    ) -> None:
        super().__init__(stream, peer=peer, timeout=timeout, rate=rate)
        self._below = stream.transport_stream

    async def receive(self) -> bytes:
        """Wait for bytes. Who speaks plain HTTP is told so, in plain HTTP, before it counts as gone."""
        try:
            return await super().receive()
        except ClientGoneError as error:
            if _speaks_plain_http(error):
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._below.send_all(HTTP_ON_TLS_PORT)
            raise


def _speaks_plain_http(error: ClientGoneError) -> bool:
    broken = error.__cause__
    cause = None if broken is None else broken.__cause__
    return isinstance(cause, ssl.SSLError) and cause.reason in _PLAIN_HTTP
