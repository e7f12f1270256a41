from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.messages import (
    NO_TOKEN,
    DhtMessage,
    Find,
    Found,
    Held,
    Ping,
    Place,
    Pong,
    Prove,
    Put,
    Record,
    Stored,
    decode,
    encode,
)


def fixed(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


REQUEST, ID, TOKEN, PORT = fixed(8), fixed(20), fixed(16), st.integers(1, 65535)
IP = fixed(4) | fixed(16)
COUNT = st.integers(0, (1 << 63) - 1)
RECORD = st.builds(Record, ID, fixed(32), st.text(max_size=80), PORT, COUNT, fixed(64))
PLACES = st.lists(st.builds(Place, ID, IP, PORT), max_size=8).map(tuple)
HELD = st.lists(st.builds(Held, RECORD, IP), max_size=5).map(tuple)
MESSAGES = st.one_of(
    st.builds(Ping, REQUEST, ID, TOKEN),
    st.builds(Pong, REQUEST, ID, fixed(32), fixed(16), PORT, fixed(64)),
    st.builds(Find, REQUEST, ID, TOKEN, ID, st.booleans()),
    st.builds(Found, REQUEST, ID, PLACES, HELD),
    st.builds(Put, REQUEST, ID, TOKEN, RECORD),
    st.builds(Stored, REQUEST, ID),
    st.builds(Prove, REQUEST, ID, TOKEN),
)


@given(MESSAGES)
def test_round_trip(message: DhtMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=1200))
def test_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(data)


@given(MESSAGES, st.data())
def test_damaged_messages_are_a_message_or_a_value_error(message: DhtMessage, data: st.DataObject) -> None:
    text = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(text)))
    with contextlib.suppress(ValueError):
        decode(bytes(text[:end]))


@pytest.mark.parametrize(
    "value",
    [
        ["ping", b"1234567", bytes(20), bytes(16)],
        ["ping", bytes(8), bytes(21), bytes(16)],
        ["find", bytes(8), bytes(20), bytes(16), bytes(20), 1],
        ["pong", bytes(8), bytes(20), bytes(32), bytes(16), 0, bytes(64)],
        ["pong", bytes(8), bytes(20), bytes(32), bytes(16), 65536, bytes(64)],
        ["found", bytes(8), bytes(20), [[bytes(20), bytes(17), 1]], []],
        ["found", bytes(8), bytes(20), [[bytes(20), bytes(4), 1]] * 17, []],
        ["other", bytes(8), bytes(20)],
        ["stored", bytes(8)],
        {"a": 1},
        7,
    ],
)
def test_what_is_no_message(value: object) -> None:
    with pytest.raises(ValueError):
        decode(msgspec.msgpack.encode(value))


@pytest.mark.parametrize(
    "claim", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x95\xa5found\xc6\x7f\xff\xff\xff"]
)
def test_claimed_lengths_cost_nothing(claim: bytes) -> None:
    with pytest.raises(ValueError):
        decode(claim)


def test_nesting_is_no_message() -> None:
    with pytest.raises(ValueError):
        decode(b"\x91" * 1100)


def test_a_challenge_is_no_longer_than_the_shortest_request() -> None:
    shortest = encode(Ping(bytes(8), bytes(20), NO_TOKEN))
    assert len(encode(Prove(bytes(8), bytes(20), bytes(16)))) <= len(shortest)
