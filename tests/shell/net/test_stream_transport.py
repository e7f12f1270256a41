from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p.errors import LocalError
from p2p.net.errors import BrokenBodyError, ClientGoneError, SlowClientError
from p2p.net.message import FileSpan
from p2p.net.stream_transport import PIECE_BYTES, StreamTransport

if TYPE_CHECKING:
    from pathlib import Path


async def test_bytes_and_files(tmp_path: Path) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=1)
    data = os.urandom(PIECE_BYTES * 2 + 3)
    path = tmp_path / "data"
    path.write_bytes(data)
    await transport.send(data, more=True)
    with path.open("rb") as file:
        await transport.send_file(FileSpan(file.fileno(), 2, len(data) - 2))
    assert await theirs.receive_some() == data + data[2:]
    await theirs.send_all(b"back")
    assert await transport.receive() == b"back"
    assert transport.stream() is ours


async def test_bad_files(tmp_path: Path) -> None:
    ours, _ = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=1)
    path = tmp_path / "data"
    path.write_bytes(b"123")
    with path.open("rb") as file, pytest.raises(BrokenBodyError):
        await transport.send_file(FileSpan(file.fileno(), 0, 4))
    with pytest.raises(LocalError, match="can't be read"):
        await transport.send_file(FileSpan(-1, 0, 4))


async def test_a_client_that_is_gone() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=1, rate=1)
    await theirs.aclose()
    with pytest.raises(ClientGoneError):
        await transport.send(b"x")
    await transport.close()
    await transport.close()
    await transport.abort()
    with pytest.raises(ClientGoneError):
        await transport.receive()


async def test_each_piece_has_the_time_of_the_slowest_we_bear(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, _ = trio.testing.lockstep_stream_pair()
    transport = StreamTransport(ours, peer="x", timeout=30, rate=PIECE_BYTES)
    with pytest.raises(SlowClientError):
        await transport.send(b"x" * PIECE_BYTES)
    assert trio.current_time() == pytest.approx(31)
