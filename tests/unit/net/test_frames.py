"""Frames: what is written is read, however it is cut, and beside another implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from p2p.net.errors import FrameError
from p2p.net.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Control, Frames, frame

KEY = b"\x11\x22\x33\x44"
MOST = 1 << 20


def read(data: bytes, *, masked: bool = False, most: int = MOST) -> list[bytes | Control]:
    return list(Frames(masked=masked, most=most).feed(data))


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "masked"])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 65535, 65536, 70_001])
def test_what_is_written_is_read(size: int, key: bytes) -> None:
    data = bytes(index % 251 for index in range(size))
    assert read(frame(BINARY, data, key), masked=bool(key)) == [data]


@given(
    st.lists(st.tuples(st.sampled_from([BINARY, PING, PONG]), st.binary(max_size=125)), max_size=8),
    st.lists(st.integers(0, 400), max_size=8),
    st.booleans(),
)
def test_any_cut_of_the_stream_gives_the_same(
    sent: list[tuple[int, bytes]], cuts: list[int], client: bool
) -> None:
    key = KEY if client else b""
    stream = b"".join(frame(opcode, data, key) for opcode, data in sent)
    frames, got, before = Frames(masked=client, most=MOST), list[bytes | Control](), 0
    for cut in (*sorted(min(cut, len(stream)) for cut in cuts), len(stream)):
        got += frames.feed(stream[before:cut])
        before = cut
    assert got == [data if opcode == BINARY else Control(opcode, data) for opcode, data in sent]
    assert not frames._buffer


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
def test_another_implementation_reads_what_we_write(size: int, client: bool) -> None:
    data = bytes(index % 251 for index in range(size))
    other = FrameProtocol(client=not client, extensions=[])
    other.receive_bytes(frame(BINARY, data, KEY if client else b""))
    (got,) = other.received_frames()
    assert (got.opcode, bytes(got.payload), got.message_finished) == (Opcode.BINARY, data, True)


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
def test_we_read_what_another_implementation_writes(size: int, client: bool) -> None:
    data = bytes(index % 251 for index in range(size))
    other = FrameProtocol(client=client, extensions=[])
    assert read(other.send_data(data), masked=client) == [data]
    assert read(other.ping(b"here"), masked=client) == [Control(PING, b"here")]
    assert read(other.close(1000, "bye"), masked=client) == [Control(CLOSE, b"\x03\xe8bye")]


def part(opcode: int, data: bytes, *, final: bool) -> bytes:
    whole = bytearray(frame(opcode, data))
    whole[0] &= 0xFF if final else 0x7F
    return bytes(whole)


def test_fragments_are_joined_and_control_frames_come_between() -> None:
    stream = (
        part(BINARY, b"one ", final=False)
        + frame(PING, b"?")
        + part(CONTINUATION, b"two ", final=False)
        + part(CONTINUATION, b"three", final=True)
        + frame(BINARY, b"next")
    )
    assert read(stream) == [Control(PING, b"?"), b"one two three", b"next"]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\xc2\x00", 1002),
        (frame(BINARY, b"x", KEY), 1002),
        (frame(TEXT, b"x"), 1003),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(0x3, b"x"), 1002),
        (frame(0xB, b"x"), 1002),
        (part(PING, b"x", final=False), 1002),
        (frame(PING, bytes(126)), 1002),
        (part(BINARY, b"x", final=False) + frame(BINARY, b"x"), 1002),
        (frame(BINARY, bytes(101)), 1009),
        (part(BINARY, bytes(60), final=False) + frame(CONTINUATION, bytes(41)), 1009),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
    ],
    ids=[
        *("reserved", "masked", "text", "continues nothing", "unknown data", "unknown control"),
        *(
            "control in parts",
            "long control",
            "begins twice",
            "too large",
            "too large in parts",
            "huge claim",
        ),
    ],
)
def test_what_must_not_be(stream: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read(stream, most=100)
    assert caught.value.code == code


def test_what_a_client_sends_unmasked_is_refused() -> None:
    with pytest.raises(FrameError, match="masked"):
        read(frame(BINARY, b"x"), masked=True)


def test_what_came_before_a_bad_frame_is_given() -> None:
    events = Frames(masked=False, most=MOST).feed(frame(BINARY, b"good") + b"\xff\x00")
    assert next(events) == b"good"
    with pytest.raises(FrameError):
        next(events)


def test_a_message_of_the_largest_size_is_taken() -> None:
    assert read(frame(BINARY, bytes(100)), most=100) == [bytes(100)]
