from __future__ import annotations

import trio.testing

from p2p.net.replay import ReplayStream


async def test_the_replayed_bytes_come_first() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = ReplayStream(ours, b"hello")
    await theirs.send_all(b" world")
    assert await stream.receive_some(2) == b"he"
    assert await stream.receive_some() == b"llo"
    assert await stream.receive_some(10) == b" world"
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"back")
    assert await theirs.receive_some() == b"back"
    await stream.aclose()
    assert await theirs.receive_some() == b""


async def test_it_is_a_checkpoint() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    with trio.testing.assert_checkpoints():
        await ReplayStream(ours, b"hello").receive_some()
