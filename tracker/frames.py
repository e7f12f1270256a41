"""A server's half of RFC 6455, without I/O: frames of a client in, messages out, and our frames to be sent.

The library that nodes use takes a quarter of a millisecond for a message, which a tracker of thousands can't
spare. There are no extensions and no subprotocols; text is given on as it is, for its reader to refuse.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from p2p.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_CONTROL = 125
"""Bytes of a control frame's payload at most."""

REQUEST = 16 << 10
"""Bytes of the request that opens a connection at most."""


class FrameError(RemoteError):
    """What came is no frame, or not one that a client may send."""


class TooBigError(FrameError):
    """A message above the limit."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks for a ``pong`` with this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """The client closes; the answer is a ``close`` of ours."""

    code: int
    reason: str


class Handshake:
    """The request that opens a connection. ``rest`` is what came behind it."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST)
        self.rest = b""

    def feed(self, data: bytes | bytearray) -> bytes:
        """Take bytes; gives the answer when the request is whole, b"" before. FrameError for another one."""
        try:
            self._http.receive_data(bytes(data))
            request = self._http.next_event()
        except h11.ProtocolError as error:
            raise FrameError("handshake", str(error)) from error
        if request is h11.NEED_DATA and data:
            return b""
        if not isinstance(request, h11.Request):
            raise FrameError("handshake", "the connection ended")
        headers = dict(request.headers)
        key = headers.get(b"sec-websocket-key", b"")
        asked = headers.get(b"upgrade", b"").lower() == b"websocket"
        if request.method != b"GET" or not asked or not key or headers.get(b"sec-websocket-version") != b"13":
            raise FrameError("handshake", "is no request for a WebSocket of version 13")
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._http.next_event()
        self.rest = self._http.trailing_data[0]
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )


class Frames:
    """Frames of one client. Messages of more than ``most`` bytes are refused before they are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes | bytearray) -> Iterator[Message | Ping | Closing]:
        """Take bytes; yields what is whole. FrameError ends the connection."""
        self._data += data
        at = 0
        try:
            while (found := self._head(at)) is not None:
                start, length, final, opcode = found
                if len(self._data) < start + length:
                    break
                at = start + length
                payload = _unmasked(self._data[start - 4 : start], self._data[start:at])
                if opcode >= _CLOSE:
                    if (event := _control(opcode, payload)) is not None:
                        yield event
                elif (message := self._part(final, opcode, payload)) is not None:
                    yield message
        finally:
            del self._data[:at]

    def _head(self, at: int) -> tuple[int, int, bool, int] | None:
        """Read a frame's head: where its payload starts, how long it is, final, opcode."""
        data = self._data
        if len(data) < at + 2:
            return None
        first, second = data[at], data[at + 1]
        opcode, length, start = first & 0x0F, second & 0x7F, at + 2
        if first & 0x70 or opcode not in (_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING, _PONG):
            raise FrameError("frame", f"has reserved bits or opcode {opcode}")
        if not second & _MASKED:
            raise FrameError("frame", "is not masked")
        if opcode >= _CLOSE and (length > _CONTROL or not first & _FINAL):
            raise FrameError("frame", "is a control frame in parts, or too long")
        if length > _CONTROL:
            width = 2 if length == 126 else 8
            if len(data) < start + width:
                return None
            length = int.from_bytes(data[start : start + width], "big")
            start += width
        if opcode < _CLOSE and self._size + length > self._most:
            raise TooBigError("message", f"its size is above {self._most} bytes")
        if (opcode == _CONTINUED) != bool(self._parts) and opcode < _CLOSE:
            raise FrameError("frame", "continues nothing, or does not continue")
        return start + 4, length, bool(first & _FINAL), opcode

    def _part(self, final: bool, opcode: int, payload: bytes) -> Message | None:
        if final and opcode != _CONTINUED:
            return Message(payload)
        # An empty part counts as one byte: parts without end are bounded as well.
        self._parts.append(payload)
        self._size += max(1, len(payload))
        if self._size > self._most:
            raise TooBigError("message", f"its size is above {self._most} bytes")
        if not final:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return Message(whole)


def frame(data: bytes) -> bytes:
    """Put a server's head before a message."""
    return _headed(_BINARY, data)


def ping() -> bytes:
    """Make a ping."""
    return _headed(_PING, b"")


def pong(payload: bytes) -> bytes:
    """Answer a ping."""
    return _headed(_PONG, payload)


def close(code: int, reason: str) -> bytes:
    """Close, with a reason of which the first 120 bytes are sent."""
    text = reason.encode(errors="replace")[:120].decode(errors="ignore").encode()
    return _headed(_CLOSE, code.to_bytes(2, "big") + text)


def _headed(opcode: int, data: bytes) -> bytes:
    size = len(data)
    if size <= _CONTROL:
        return bytes((_FINAL | opcode, size)) + data
    if size < 1 << 16:
        return bytes((_FINAL | opcode, 126)) + size.to_bytes(2, "big") + data
    return bytes((_FINAL | opcode, 127)) + size.to_bytes(8, "big") + data


def _unmasked(mask: bytearray, payload: bytearray) -> bytes:
    size = len(payload)
    if not any(mask):
        return bytes(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def _control(opcode: int, payload: bytes) -> Ping | Closing | None:
    if opcode == _PING:
        return Ping(payload)
    if opcode == _PONG:
        return None
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    return Closing(code, payload[2:].decode(errors="replace"))
