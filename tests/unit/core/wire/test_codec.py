"""Every message survives the wire; nothing else does, and it costs little to say so."""

from __future__ import annotations

import tracemalloc
from typing import Any, get_args, get_origin

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from p2p.core.oci.digest import Digest
from p2p.core.wire.bounds import Bounds
from p2p.core.wire.codec import (
    FROM_TRACKER,
    MAX_MESSAGE,
    PEER,
    TO_TRACKER,
    Codec,
    WireError,
    decoder,
    encode,
    together,
)
from p2p.core.wire.common import Holding
from p2p.core.wire.peer import FoundReference, Have, PeerHello, PeerMessage, State, Subscribe
from p2p.core.wire.tracker import Announce, FromTracker, Intent, Plan, Refused, ToTracker
from p2p.core.wire.validate import MAX_COUNT
from p2p.errors import RemoteError

D = str(Digest.of(b""))
DIGESTS = st.sampled_from([D, str(Digest.of(b"x")), str(Digest.of(b"", "sha512"))])
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "digest": DIGESTS,
    "port": st.integers(0, 65535),
    "lease": st.sampled_from(["granted", "held", "none"]),
    "list_id": st.binary(min_size=32, max_size=32),
    "states": st.integers(0, 3).map(lambda count: bytes(64 * count)),
}
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=40),
    bytes: st.binary(max_size=40),
    int: st.integers(0, MAX_COUNT),
    float: st.floats(0, 1e9),
    bool: st.booleans(),
}


def values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    if get_origin(kind) is tuple:
        parts = [values(name.removesuffix("s"), part) for part in get_args(kind) if part is not Ellipsis]
        return st.lists(parts[0], max_size=3).map(tuple) if Ellipsis in get_args(kind) else st.tuples(*parts)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return messages(kind)
    if kind is bool:
        return PLAIN[bool]
    return SPECIAL.get(name, PLAIN[kind])


def messages(cls: type[Struct]) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{info.name: values(info.name, info.type) for info in fields(cls)})


def every(union: Any) -> st.SearchStrategy[Any]:
    return st.one_of([messages(cls) for cls in get_args(union)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "union"), [(PEER, PeerMessage), (TO_TRACKER, ToTracker), (FROM_TRACKER, FromTracker)]
)
def test_every_message_round_trips(codec: Codec[Any], union: Any) -> None:
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(every(union))
    def check(message: Struct) -> None:
        data = encode(message)
        assert codec.decode(data) == message
        assert codec.decode(memoryview(bytearray(data))) == message
        assert isinstance(msgpack.unpackb(data)[0], str)

    check()


@pytest.mark.slow
def test_messages_together_round_trip() -> None:
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(every(PeerMessage), max_size=40))
    def check(messages: list[Struct]) -> None:
        data = together([encode(message) for message in messages])
        assert PEER.decode_all(data) == messages
        assert len(msgpack.unpackb(data)) == len(messages)

    check()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 9000])
def test_as_many_together_as_there_are(count: int) -> None:
    assert PEER.decode_all(together([encode(FoundReference(7))] * count)) == [FoundReference(7)] * count


def test_together_they_keep_the_bounds_of_one() -> None:
    with pytest.raises(WireError, match="more than 65536 elements"):
        PEER.decode_all(together([encode(Have(D, tuple(range(1000))))] * 66))


def test_one_bad_message_spoils_all() -> None:
    with pytest.raises(WireError):
        PEER.decode_all(together([encode(Subscribe(D)), encode(Have("no digest", (1,)))]))


def test_the_protocol_of_today() -> None:
    """A golden message: a change of this is a change of the protocol."""
    assert encode(PeerHello(1, "ab", "n", 5001)).hex() == "97a568656c6c6f01a26162a16ecd1389a0c2"


@pytest.mark.slow
@pytest.mark.parametrize("codec", [PEER, TO_TRACKER, FROM_TRACKER])
def test_any_bytes_give_a_wire_error_at_worst(codec: Codec[Any]) -> None:
    tags = [get_args(union) for union in (PeerMessage, ToTracker, FromTracker)]
    names = [str(cls.__struct_config__.tag) for group in tags for cls in group]
    inner = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(1 << 63), (1 << 64) - 1)
        | st.floats()
        | st.text()
        | st.binary()
        | DIGESTS,
        lambda more: st.lists(more, max_size=4),
        max_leaves=6,
    )
    near_misses = st.tuples(st.sampled_from(names), st.lists(inner, max_size=8)).map(
        lambda pair: msgpack.packb([pair[0], *pair[1]])
    )

    @given(st.binary() | inner.map(msgpack.packb) | near_misses)
    def check(data: bytes) -> None:
        try:
            message = codec.decode(data)
        except WireError:
            return
        assert codec.decode(encode(message)) == message

    check()


@given(st.data())
def test_a_flipped_byte_gives_a_wire_error_at_worst(data: st.DataObject) -> None:
    packed = bytearray(encode(Plan(D, 1, (), "none", 0, "", 3.0)))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] = data.draw(st.integers(0, 255))
    try:
        FROM_TRACKER.decode(packed)
    except WireError:
        return


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "sub",
        [],
        ["no such tag", D],
        [7, D],
        [None],
        ["sub"],
        ["sub", 7],
        ["sub", D, "0"],
        ["sub", D, True],
        ["sub", D, 0.0],
        ["sub", D, 0, "text is not bytes"],
        ["sub", b"bytes are not text"],
        ["sub", "sha256:x"],
        ["have", D, [-1]],
        ["have", D, [1 << 63]],
        ["have", D, 7],
        ["hello", 1, "n", "n", 65536],
        {"type": "sub"},
    ],
)
def test_what_is_no_message(value: Any) -> None:
    with pytest.raises(WireError) as caught:
        PEER.decode(msgpack.packb(value))
    assert isinstance(caught.value, RemoteError)
    assert len(str(caught.value)) < 300


def test_a_long_quotation_is_cut() -> None:
    with pytest.raises(WireError) as caught:
        PEER.decode(msgpack.packb(["x" * 8000]))
    assert len(str(caught.value)) < 300


def test_text_that_is_not_utf_8() -> None:
    with pytest.raises(WireError):
        PEER.decode(b"\x92\xa3sub\xa2\xff\xff")


def test_fields_of_a_newer_sender_are_left_out() -> None:
    assert PEER.decode(msgpack.packb(["sub", D, 0, b"", "newer", [1]])) == Subscribe(D)


def test_messages_of_the_other_direction_are_refused() -> None:
    with pytest.raises(WireError):
        TO_TRACKER.decode(encode(Refused("no")))


def test_a_decoder_for_any_union() -> None:
    assert decoder(Subscribe)(encode(Subscribe(D))) == Subscribe(D)


def test_too_much_is_not_sent() -> None:
    with pytest.raises(WireError, match="Intent: can't be sent"):
        encode(Intent("job", ("x",) * 70_000))
    with pytest.raises(WireError, match="limit"):
        encode(State(D, 1, complete=False, have=bytes(MAX_MESSAGE)))
    assert encode(State(D, 1, complete=False, have=bytes(MAX_MESSAGE)), Bounds(message=2 * MAX_MESSAGE))


def test_lone_surrogates_are_replaced() -> None:
    assert FROM_TRACKER.decode(encode(Refused("a\ud800b"))) == Refused("a?b")


@pytest.mark.slow
def test_no_message_costs_more_than_ten_megabytes() -> None:
    worst = [
        encode(Announce((Holding(D, 1, 1, complete=True),) * 10_000)),
        encode(Have(D, tuple(range(1 << 40, (1 << 40) + 60_000)))),
        b"\xdd\x00\x00\xff\xff" * 200_000,
        b"\xdc\xff\xf0" + b"\x90" * 0xFFF0,
        b"\xdc\x80\x00" + b"\x91\xc0" * 0x7FFF + b"\x90",
        b"\xdc\xff\xf0" + b"\xa2ab" * 0xFFF0,
        b"\xc6\x00\x0f\xff\x00" + bytes(0xFFF00),
    ]
    for data in worst:
        tracemalloc.start()
        try:
            for codec in (PEER, TO_TRACKER):
                try:
                    codec.decode(data)
                except WireError:
                    continue
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10_000_000
