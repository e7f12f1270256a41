from __future__ import annotations

import trio
import trio.testing

from p2p.net.errors import ClientGoneError, SlowClientError
from p2p.net.message import FileSpan
from p2p.net.stream_transport import StreamTransport
from p2p.net.transport import LINGER_BYTES, LINGER_SECONDS, too_short, unreadable


async def test_lingering_reads_on_until_the_client_ends() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=0)
    await theirs.send_all(b"rest")
    await theirs.send_eof()
    await transport.linger()
    assert await theirs.receive_some() == b""


async def test_lingering_ends(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=0)
    await transport.linger()
    assert trio.current_time() == LINGER_SECONDS
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=0)
    await theirs.send_all(b"x" * (LINGER_BYTES + 1))
    await transport.linger()
    assert trio.current_time() == LINGER_SECONDS


async def test_descriptions() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="1.2.3.4:5", timeout=3, rate=7)
    transport.flush()
    assert not transport.hung_up()
    assert isinstance(transport.gone(), ClientGoneError)
    assert isinstance(transport.slow(), SlowClientError)
    assert str(transport.slow()).startswith("client 1.2.3.4:5: moved nothing for 3 s")
    assert "byte 12" in str(too_short(FileSpan(3, 10, 2)))
    assert "can't be read" in str(unreadable(FileSpan(3, 10, 2), OSError("disk")))
