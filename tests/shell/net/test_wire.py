from __future__ import annotations

import h11
import pytest
import trio.testing

from p2p.net.stream_transport import StreamTransport
from p2p.net.wire import Wire

ONE = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
TWO = b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_requests_one_after_the_other() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    wire = Wire(StreamTransport(ours, peer="x", timeout=1, rate=0), header_bytes=1000)
    await theirs.send_all(ONE + TWO[:5])
    assert await wire.receive() == ONE + TWO[:5]
    event = wire.h11.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == b"/1"
    assert (wire.recording(), wire.left_over()) == (ONE + TWO[:5], TWO[:5])
    assert wire.renew()
    assert wire.recording() == TWO[:5]
    await theirs.send_all(TWO[5:])
    await theirs.send_eof()
    await wire.receive()
    assert wire.recording() == TWO
    event = wire.h11.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == b"/2"
    assert not wire.eof
    assert await wire.receive() == b""
    assert wire.eof
    assert wire.renew()
    assert isinstance(wire.h11.next_event(), h11.ConnectionClosed)


async def test_a_recording_that_was_dropped() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    wire = Wire(StreamTransport(ours, peer="x", timeout=1, rate=0), header_bytes=1000)
    assert wire.recorded
    wire.stop_recording()
    assert not wire.recorded
    with pytest.raises(AssertionError):
        wire.recording()
    assert not wire.renew()
    assert wire.recording() == b""
