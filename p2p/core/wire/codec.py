"""Messages to bytes and back: msgpack arrays that begin with the message's tag.

Reading goes in three steps, each of which can only be reached by what passed the one before: ``bounds``
(sizes claimed), msgspec (bytes to a message), ``validate`` (meaning).
A newer sender may append fields to a message, which an older reader leaves out; a tag that is not known
is refused, and so the protocol version in the hello is raised for a new message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
from msgspec import Struct

from p2p.core.wire.bounds import DEFAULT, Bounds, scan
from p2p.core.wire.peer import PeerMessage
from p2p.core.wire.tracker import FromTracker, ToTracker
from p2p.core.wire.validate import validator
from p2p.errors import RemoteError

if TYPE_CHECKING:
    from types import UnionType

MAX_MESSAGE: Final = DEFAULT.message
"""Bytes; the channel's own limit should be the same."""

_CAUSE: Final = 200
"""Characters of a cause: what is wrong with a message may quote it."""

_ENCODER: Final = msgspec.msgpack.Encoder()

T = TypeVar("T")


class WireError(RemoteError):
    """Bytes that are no message of the expected kind, or a message too large to send."""


def encode(message: Struct, bounds: Bounds = DEFAULT) -> bytes:
    """Write a message; WireError for one that a reader with the same bounds would refuse."""
    try:
        data = _ENCODER.encode(message)
    except UnicodeEncodeError:
        # Text from elsewhere (a reason, a file's name) may hold lone surrogates, which UTF-8 has not.
        builtins = msgspec.to_builtins(message, builtin_types=(bytes,))
        data = msgpack.packb(builtins, unicode_errors="replace")
    if len(data) <= min(bounds.message, bounds.elements, bounds.text):
        return data  # too short to pass any bound: no element and no text takes less than its bytes
    try:
        scan(data, bounds)
    except ValueError as error:
        raise WireError(f"message {type(message).__name__}", f"can't be sent: {error}") from error
    return data


def together(messages: Sequence[bytes]) -> bytes:
    """Put messages that are written already into one, at most 65,535 of them: see ``Codec.decode_all``."""
    count = len(messages)
    head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(messages)


class Codec(Generic[T]):
    """Reads the messages of one direction of one channel; writing needs only ``encode``."""

    def __init__(self, union: UnionType | type[Struct], bounds: Bounds = DEFAULT) -> None:
        self._bounds = bounds
        self._validate = validator(union)
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(union)
        self._all: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(list[union])  # type: ignore[valid-type]  # made at run time

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """Read one message; whatever is wrong with the bytes, it is a WireError that says what."""
        return self._read(data, several=False)[0]

    def decode_all(self, data: bytes | bytearray | memoryview) -> list[T]:
        """Read an array of messages, within the bounds of one."""
        return self._read(data, several=True)

    def _read(self, data: bytes | bytearray | memoryview, *, several: bool) -> list[T]:
        try:
            scan(data, self._bounds)
            messages: list[Any] = self._all.decode(data) if several else [self._decoder.decode(data)]
            for message in messages:
                self._validate(message)
        except (ValueError, msgspec.MsgspecError) as error:
            raise WireError("message", str(error)[:_CAUSE]) from error
        return messages


def decoder(union: UnionType | type[Struct], bounds: Bounds = DEFAULT) -> Callable[[bytes], Any]:
    """Give the reading half for a union of messages, untyped."""
    codec: Codec[Any] = Codec(union, bounds)
    return codec.decode


PEER: Final[Codec[PeerMessage]] = Codec(PeerMessage)
TO_TRACKER: Final[Codec[ToTracker]] = Codec(ToTracker)
FROM_TRACKER: Final[Codec[FromTracker]] = Codec(FromTracker)
