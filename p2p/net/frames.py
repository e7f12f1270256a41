"""WebSocket frames (RFC 6455): bytes to messages and back, binary ones alone. Pure.

A node sends and gets some ten messages for each chunk that it gathers on a slow link: what a message costs
decides what such a link costs, and a general library takes some times as long for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.net.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
"""Opcodes (5.2)."""

PROTOCOL_ERROR: Final = 1002
UNACCEPTABLE: Final = 1003
TOO_LARGE: Final = 1009
"""Reasons to close (7.4.1)."""

_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_SHORT, _TWO_BYTES = 125, 126


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame: ``opcode`` is CLOSE, PING or PONG."""

    opcode: int
    data: bytes


def frame(opcode: int, data: bytes, key: bytes = b"") -> bytes:
    """Write one unfragmented frame; masked with ``key`` of 4 bytes, as a client must, where one is given."""
    size, flag = len(data), _MASKED if key else 0
    if size <= _SHORT:
        head = bytes((_FINAL | opcode, flag | size))
    elif size < 1 << 16:
        head = bytes((_FINAL | opcode, flag | _TWO_BYTES)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, flag | _TWO_BYTES + 1)) + size.to_bytes(8, "big")
    return head + key + _masked(data, key) if key else head + data


class Frames:
    """The reading half of one connection.

    ``masked``: what comes is from a client, and has to be masked; else it must not be (5.1). ``most``: bytes
    of a message.
    """

    def __init__(self, *, masked: bool, most: int) -> None:
        self._masked = masked
        self._most = most
        self._buffer = bytearray()
        self._parts: bytearray | None = None
        """What has come of a fragmented message, None between messages."""

    def feed(self, data: bytes) -> Iterator[bytes | Control]:
        """Take bytes in, and yield what became whole; raises FrameError at what must not be."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while (found := self._next(at)) is not None:
                opcode, final, payload, at = found
                if opcode >= CLOSE:
                    yield Control(opcode, payload)
                elif self._parts is None and final:
                    yield payload
                else:
                    self._parts = (self._parts or bytearray()) + payload
                    if final:
                        whole, self._parts = bytes(self._parts), None
                        yield whole
        finally:
            del buffer[:at]

    def _next(self, at: int) -> tuple[int, bool, bytes, int] | None:
        """Read the frame at ``at``: opcode, whether it is a message's last, content, and where it ends."""
        buffer = self._buffer
        size = len(buffer) - at
        if size < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        length, begin = second & 0x7F, at + 2
        if length > _SHORT:
            begin += 2 if length == _TWO_BYTES else 8
            if len(buffer) < begin:
                return None
            length = int.from_bytes(buffer[at + 2 : begin], "big")
        opcode = first & 0x0F
        self._check(first, opcode, length, masked=bool(second & _MASKED))
        key = b""
        if self._masked:
            begin += 4
            key = bytes(buffer[begin - 4 : begin])
        stop = begin + length
        if len(buffer) < stop:
            return None
        payload = bytes(buffer[begin:stop])
        return opcode, bool(first & _FINAL), _masked(payload, key) if key else payload, stop

    def _check(self, first: int, opcode: int, length: int, *, masked: bool) -> None:
        if first & _RESERVED:
            raise FrameError("a frame of an extension that nobody agreed on", PROTOCOL_ERROR)
        if masked is not self._masked:
            raise FrameError("a frame that is masked and must not be, or the other way", PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if opcode > PONG or not first & _FINAL or length > _SHORT:
                raise FrameError("a control frame that is none", PROTOCOL_ERROR)
            return
        if opcode == TEXT:
            raise FrameError("text where bytes belong", UNACCEPTABLE)
        if opcode > BINARY or (opcode == CONTINUATION) is (self._parts is None):
            raise FrameError("a frame that begins or continues nothing", PROTOCOL_ERROR)
        if length + len(self._parts or b"") > self._most:
            raise FrameError(f"a message of more than {self._most} bytes", TOO_LARGE)


def _masked(data: bytes, key: bytes) -> bytes:
    """Mask, or unmask (5.3): one addition of long numbers in place of a loop."""
    size = len(data)
    pattern = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")
