"""A WebSocket of binary messages over a stream (RFC 6455): many messages at once, each way.

``receive`` gives all that have come, and ``send`` writes all that there is to say with one call: so a burst
of small messages costs one pass of the event loop, and one segment.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Final

import h11
import trio

from p2p.net.answers import refusal
from p2p.net.errors import FrameError, HandshakeError, WebSocketClosedError
from p2p.net.frames import BINARY, CLOSE, PING, PONG, Control, Frames, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECEIVE_BYTES: Final = 64 * 1024
HEAD_BYTES: Final = 16 * 1024
CLOSE_SECONDS: Final = 1.0
"""For the other side's goodbye."""

NORMAL: Final = 1000

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEYS: Final = 64
"""Masks drawn at once."""

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class WebSocket:
    """An open connection over ``stream``, which it owns.

    One task at a time may ``receive``; it has to, for pings to be answered either way. ``remote`` names the
    other side in errors. All methods raise WebSocketClosedError when the connection ended, whoever ended it.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, client: bool, remote: str, most: int, rest: bytes = b""
    ) -> None:
        self.remote = remote
        self._stream = stream
        self._frames = Frames(masked=not client, most=most)
        self._rest = rest
        self._client = client
        self._masks = b""
        self._sending = trio.Lock()
        self._torn = False
        """A frame may have gone out in part: nothing can follow it."""
        self._ended: WebSocketClosedError | None = None
        self._pong = trio.Event()

    async def receive(self) -> list[bytes]:
        """Wait for messages, and give all that have come: at least one."""
        data, self._rest = self._rest, b""
        while True:
            if self._ended is not None:
                raise self._ended
            messages: list[bytes] = []
            try:
                for event in self._frames.feed(data):
                    if isinstance(event, bytes):
                        messages.append(event)
                    elif await self._over(event):
                        break
            except FrameError as error:
                self._end(str(error.cause))
                with contextlib.suppress(WebSocketClosedError):
                    await self._write(self._frame(CLOSE, error.code.to_bytes(2, "big")))
            except WebSocketClosedError as error:
                self._ended = error  # what came before is good
            if messages:
                return messages
            if self._ended is None:
                data = await self._more()

    async def send(self, messages: Iterable[bytes]) -> None:
        """Send messages, in one piece."""
        if data := b"".join(self._frame(BINARY, message) for message in messages):
            await self._write(data)

    async def ping(self) -> None:
        """Ask whether the other side is there, and wait for its answer."""
        self._pong = trio.Event()
        await self._write(self._frame(PING, b""))
        await self._pong.wait()

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, wait a moment for the other's, and close the stream. Nobody may be receiving."""
        try:
            with trio.move_on_after(CLOSE_SECONDS), contextlib.suppress(WebSocketClosedError):
                if self._ended is None:
                    await self._write(self._frame(CLOSE, code.to_bytes(2, "big") + reason.encode()))
                while True:
                    await self.receive()
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _over(self, control: Control) -> bool:
        """Take a control frame; whether it was the last one."""
        match control.opcode:
            case 0x9:  # PING
                await self._write(self._frame(PONG, control.data))
            case 0xA:  # PONG
                self._pong.set()
            case _:
                told = control.data[2:].decode("utf-8", "replace")
                self._end(f"the other side said goodbye{f': {told}' if told else ''}")
                with contextlib.suppress(WebSocketClosedError):
                    await self._write(self._frame(CLOSE, control.data[:2]))
                return True
        return False

    async def _more(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except _BROKEN as error:
            raise self._end("it broke") from error
        if not data:
            raise self._end("the other side closed it without a goodbye")
        return data

    async def _write(self, data: bytes) -> None:
        try:
            self._sending.acquire_nowait()  # without a pass of the scheduler, where nobody else sends
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            if self._torn:
                raise self._end("it broke before")
            self._torn = True
            await self._stream.send_all(data)
            self._torn = False
        except _BROKEN as error:
            raise self._end("it broke") from error
        finally:
            self._sending.release()

    def _frame(self, opcode: int, data: bytes) -> bytes:
        if not self._client:
            return frame(opcode, data)
        if not self._masks:
            self._masks = os.urandom(4 * _KEYS)
        key, self._masks = self._masks[:4], self._masks[4:]
        return frame(opcode, data, key)

    def _end(self, cause: str) -> WebSocketClosedError:
        if self._ended is None:
            self._ended = WebSocketClosedError(self.remote, cause)
        return self._ended


async def connect(stream: trio.abc.Stream, host: str, path: str, *, most: int) -> WebSocket:
    """Open a WebSocket as the client (4.1); HandshakeError where the other side is none, or refuses.

    ``most``: bytes of a message that is received. The stream is not closed by what goes wrong.
    """
    key = base64.b64encode(os.urandom(16))
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    headers = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key.decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    head = parser.send(h11.Request(method="GET", target=path, headers=headers))
    end = parser.send(h11.EndOfMessage())
    event = None
    with _handshake(host):
        await stream.send_all((head or b"") + (end or b""))
        event = await _event(stream, parser)
    if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
        status = getattr(event, "status_code", "nothing")
        raise HandshakeError(host, f"answered {status} where a WebSocket was asked for")
    if dict(event.headers).get(b"sec-websocket-accept") != _accepted(key):
        raise HandshakeError(host, "answered as one that knows no WebSocket")
    return WebSocket(stream, client=True, remote=host, most=most, rest=parser.trailing_data[0])


async def accept(stream: trio.abc.Stream, remote: str, *, most: int) -> WebSocket:
    """Open a WebSocket as the server (4.2), from the request's first byte on; HandshakeError as above."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    with _handshake(remote):
        request = await _event(stream, parser)
        ended = isinstance(request, h11.Request) and isinstance(parser.next_event(), h11.EndOfMessage)
        headers = dict(request.headers) if isinstance(request, h11.Request) else {}
        key = headers.get(b"sec-websocket-key", b"")
        asked = (
            headers.get(b"upgrade", b"").lower() == b"websocket"
            and b"upgrade" in headers.get(b"connection", b"").lower()
            and headers.get(b"sec-websocket-version") == b"13"
        )
        if not (ended and asked and key):
            await stream.send_all(refusal(400, "A WebSocket belongs here, of version 13."))
            raise HandshakeError(remote, "did not ask for a WebSocket")
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + _accepted(key) + b"\r\n\r\n"
        )
    return WebSocket(stream, client=False, remote=remote, most=most, rest=parser.trailing_data[0])


@contextlib.contextmanager
def _handshake(remote: str) -> Iterator[None]:
    try:
        yield
    except (h11.ProtocolError, ValueError) as error:
        raise HandshakeError(remote, f"does not speak HTTP: {error}") from error
    except _BROKEN as error:
        raise HandshakeError(remote, "broke the connection off") from error


async def _event(stream: trio.abc.Stream, parser: h11.Connection) -> object:
    while True:
        event = parser.next_event()
        if event is not h11.NEED_DATA:
            return event
        parser.receive_data(bytes(await stream.receive_some(HEAD_BYTES)))


def _accepted(key: bytes) -> bytes:
    """Answer a key (4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
