from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Pong, Request
from wsproto.events import Ping as TheirPing

from tracker.frames import (
    Closing,
    FrameError,
    Frames,
    Handshake,
    Message,
    Ping,
    TooBigError,
    close,
    frame,
    ping,
    pong,
)

MOST = 1000
ASKED = b" /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"


def client():
    """A client of another make, past its handshake with ours."""
    theirs = WSConnection(ConnectionType.CLIENT)
    handshake = Handshake()
    answer = handshake.feed(theirs.send(Request(host="tracker", target="/ws")))
    theirs.receive_data(answer)
    assert isinstance(next(theirs.events()), AcceptConnection)
    return theirs


def fed(data, most=MOST, step=None):
    frames, found = Frames(most), []
    for at in range(0, len(data), step or max(1, len(data))):
        found += frames.feed(data[at : at + (step or len(data))])
    return found


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70000])
def test_what_another_library_sends_is_read_and_the_other_way_round(size):
    theirs, data = client(), bytes(n % 251 for n in range(size))
    assert fed(theirs.send(BytesMessage(data)), most=1 << 20) == [Message(data)]
    theirs.receive_data(frame(data))
    assert b"".join(event.data for event in theirs.events()) == data


@given(
    st.lists(
        st.one_of(st.binary(max_size=300), st.lists(st.binary(max_size=100), min_size=2, max_size=5)),
        max_size=6,
    ),
    st.integers(1, 40),
)
def test_any_split_of_the_stream_gives_the_same(messages, step):
    theirs, data, wanted = Connection(ConnectionType.CLIENT), b"", []
    for one in messages:
        parts = [one] if isinstance(one, bytes) else one
        for number, part in enumerate(parts, 1):
            data += theirs.send(BytesMessage(part, message_finished=number == len(parts)))
            data += theirs.send(TheirPing(b"p"))
        wanted.append(Message(b"".join(parts)))
    found = fed(data, step=step)
    assert [one for one in found if one != Ping(b"p")] == wanted


def test_pings_and_closes():
    theirs = client()
    theirs.receive_data(ping())
    theirs.receive_data(pong(b"x"))
    assert [type(event) for event in theirs.events()] == [TheirPing, Pong]
    assert fed(theirs.send(TheirPing(b"hello"))) == [Ping(b"hello")]
    assert fed(theirs.send(Pong(b"x"))) == []
    theirs.receive_data(close(1008, "gone \udcff" + "x" * 300))
    event = next(theirs.events())
    assert isinstance(event, CloseConnection)
    assert event.code == 1008
    assert event.reason.startswith("gone ?xxx")
    assert fed(client().send(CloseConnection(code=1000, reason="bye"))) == [Closing(1000, "bye")]
    assert fed(b"\x88\x80\0\0\0\0") == [Closing(1005, "")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x82\x01x", "not masked"),
        (b"\xc2\x80\0\0\0\0", "reserved"),
        (b"\x83\x80\0\0\0\0", "opcode 3"),
        (b"\x09\x80\0\0\0\0", "in parts"),
        (b"\x89\xfe\x00\x7e", "too long"),
        (b"\x80\x80\0\0\0\0", "continues nothing"),
        (b"\x02\x80\0\0\0\0" + b"\x82\x80\0\0\0\0", "does not continue"),
    ],
)
def test_what_no_client_may_send(data, words):
    with pytest.raises(FrameError, match=words):
        fed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xff" + (1 << 62).to_bytes(8, "big"),
        b"\x82\xfe" + (MOST + 1).to_bytes(2, "big"),
        b"\x02\xfe" + MOST.to_bytes(2, "big") + bytes(4 + MOST) + b"\x80\x81" + bytes(5),
        b"\x02\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * (MOST + 1),
    ],
)
def test_a_message_above_the_limit_is_refused_before_it_is_kept(data):
    frames = Frames(MOST)
    with pytest.raises(TooBigError):
        list(frames.feed(data))


def test_a_request_comes_in_pieces_and_what_is_behind_it_is_kept():
    handshake = Handshake()
    request = WSConnection(ConnectionType.CLIENT).send(Request(host="tracker", target="/ws"))
    for byte in request[:-1]:
        assert handshake.feed(bytes((byte,))) == b""
    answer = handshake.feed(request[-1:] + b"\x82\x80\0\0\0\0")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert handshake.rest == b"\x82\x80\0\0\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST" + ASKED + b"Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
        b"GET" + ASKED + b"Sec-WebSocket-Version: 8\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: " + b"x" * (20 << 10),
    ],
)
def test_what_opens_no_connection(data):
    with pytest.raises(FrameError):
        Handshake().feed(data)


@given(st.binary(max_size=200))
def test_garbage_is_an_error_or_nothing(data):
    frames = Frames(MOST)
    try:
        for event in frames.feed(data):
            assert isinstance(event, Message | Ping | Closing)
    except FrameError:
        pass
