"""A WebSocket to the tracker over a stream that we own, and so always close."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
import trio_websocket

from p2p.core.wire.codec import MAX_MESSAGE
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_TIMEOUT = 5.0
CLOSE_TIMEOUT = 0.5
RECEIVE_BUFFER = 65536
"""The library's default of 4 KiB is slow."""

QUEUE = 64


def parse_url(text: str) -> str:
    """Complete a tracker's URL, ``ws://host:5010`` to ``ws://host:5010/ws``. ConfigError if it is none."""
    error = ConfigError(
        f"tracker {text!r}", "is not a WebSocket URL", "Write it like ws://tracker.example:5010"
    )
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        raise error from None
    if not known or parts.username or parts.query or parts.fragment:
        raise error
    return parts._replace(path="/ws").geturl() if parts.path in ("", "/") else text


@asynccontextmanager
async def open_channel(url: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Connect to a parsed URL; the socket is closed, and its stream with it, whatever happened.

    Raises OSError, TooSlowError or a trio_websocket error, alone or in a group with those of the body.
    """
    # The library's own ``open_websocket`` leaves the stream open when the other end broke off.
    with trio.fail_after(CONNECT_TIMEOUT):
        stream, host, path = await _dial(url)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(CONNECT_TIMEOUT):
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    host,
                    path,
                    message_queue_size=QUEUE,
                    max_message_size=MAX_MESSAGE,
                    receive_buffer_size=RECEIVE_BUFFER,
                )
            try:
                if socket.closed is not None:
                    raise trio_websocket.ConnectionClosed(socket.closed)
                yield socket
            finally:
                with trio.move_on_after(CLOSE_TIMEOUT):
                    await socket.aclose()
                nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def _dial(url: str) -> tuple[trio.SocketStream | trio.SSLStream[trio.SocketStream], str, str]:
    """Give a stream, the value of ``Host`` and the path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    stream = await trio.open_tcp_stream(host, port)
    if parts.scheme == "ws":
        return stream, name, parts.path
    context = ssl.create_default_context()
    secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure, name, parts.path
