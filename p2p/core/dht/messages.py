"""What nodes say to each other, inside the seal: msgpack arrays that begin with the message's tag.

Every request carries a token: what the other side last gave this address to prove that it receives there,
zeros before that. ``request`` is drawn anew for each and comes back in the answer.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from p2p.core.dht.contact import ID_BYTES

REQUEST_BYTES: Final = 8
TOKEN_BYTES: Final = 16
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
NO_TOKEN: Final = bytes(TOKEN_BYTES)
MAX_CONTACTS: Final = 16
MAX_RECORDS: Final = 64
MAX_HOST: Final = 255

Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
RequestId = Annotated[bytes, Meta(min_length=REQUEST_BYTES, max_length=REQUEST_BYTES)]
Token = Annotated[bytes, Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
NodeId = Annotated[bytes, Meta(min_length=16, max_length=16)]
Public = Annotated[bytes, Meta(min_length=PUBLIC_BYTES, max_length=PUBLIC_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Ip = Annotated[bytes, Meta(max_length=16)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Place(Struct, frozen=True, array_like=True):
    """A contact as it is told to others."""

    id: Id
    ip: Ip
    port: Port


class Record(Struct, frozen=True, array_like=True):
    """A provider's word that it has a whole blob, signed (see ``records``).

    ``host`` empty: the address from which it came to who keeps it. ``port`` is the provider's peer port, 0
    where it takes its word back. ``expires`` in seconds of Unix time.
    """

    key: Id
    public: Public
    host: Annotated[str, Meta(max_length=MAX_HOST)]
    port: Annotated[int, Meta(ge=0, le=65535)]
    expires: Count
    signature: Signature


class Held(Struct, frozen=True, array_like=True):
    """A record and the address that it came from, as its keeper saw it."""

    record: Record
    seen: Ip


class Ping(Struct, frozen=True, array_like=True, tag="ping"):
    """Ask a node who it is."""

    request: RequestId
    sender: Id
    token: Token


class Pong(Struct, frozen=True, array_like=True, tag="pong"):
    """Say who one is, signed over the question: also as a peer, by ``node`` id and ``port`` (TCP)."""

    request: RequestId
    sender: Id
    public: Public
    node: NodeId
    port: Port
    signature: Signature


class Find(Struct, frozen=True, array_like=True, tag="find"):
    """Ask for the nodes nearest to a key and, where ``records`` says so, for its provider records."""

    request: RequestId
    sender: Id
    token: Token
    key: Id
    records: bool


class Found(Struct, frozen=True, array_like=True, tag="found"):
    """The nearest nodes known, and some of the records; a few at random where they do not all fit."""

    request: RequestId
    sender: Id
    contacts: Annotated[tuple[Place, ...], Meta(max_length=MAX_CONTACTS)]
    records: Annotated[tuple[Held, ...], Meta(max_length=MAX_RECORDS)]


class Put(Struct, frozen=True, array_like=True, tag="put"):
    """Leave a record with a node near its key."""

    request: RequestId
    sender: Id
    token: Token
    record: Record


class Stored(Struct, frozen=True, array_like=True, tag="stored"):
    """The record was taken."""

    request: RequestId
    sender: Id


class Prove(Struct, frozen=True, array_like=True, tag="show"):
    """The challenge: ask again with this token. Never longer than the request that it answers."""

    request: RequestId
    sender: Id
    token: Token


Request = Ping | Find | Put
Answer = Pong | Found | Stored | Prove
DhtMessage = Ping | Pong | Find | Found | Put | Stored | Prove

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[DhtMessage]] = msgspec.msgpack.Decoder(DhtMessage)


def encode(message: DhtMessage) -> bytes:
    """Write a message."""
    return _ENCODER.encode(message)


def decode(data: bytes) -> DhtMessage:
    """Read a message; ValueError for anything else. Lengths and ranges are checked on the way.

    Nothing is allocated from a claimed length: msgspec grows what it reads by what is there.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
