"""One message at a time at first, and then as many together as there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio_websocket
from trio.testing import memory_stream_pair

from p2p.core.wire.codec import PEER, WireError, encode, together
from p2p.core.wire.peer import Absent, Have
from p2p.transfer.channel import SEND_BYTES, Channel
from tests.support.store_rig import blob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = str(blob(9).digest)
ONE, TWO = Absent(NAME), Have(NAME, (1, 2))


@pytest.fixture
async def ends(nursery: trio.Nursery) -> AsyncIterator[tuple[Channel, Any]]:
    """A channel, and the WebSocket at its other end."""
    mine, theirs = memory_stream_pair()
    opened: list[Any] = []

    async def connect() -> None:
        opened.append(await trio_websocket.wrap_client_stream(nursery, mine, "memory", "/"))

    async with trio.open_nursery() as connecting:
        connecting.start_soon(connect)
        other = await (await trio_websocket.wrap_server_stream(nursery, theirs)).accept()
    yield Channel(opened[0]), other
    nursery.cancel_scope.cancel()


async def test_at_first_each_message_goes_by_itself(ends: tuple[Channel, Any]) -> None:
    channel, other = ends
    await channel.put(ONE)
    await channel.put(TWO)
    await channel.flush()
    assert [PEER.decode(await other.get_message()) for _ in range(2)] == [ONE, TWO]
    await other.send_message(encode(TWO))
    assert await channel.receive() == [TWO]


async def test_together_they_go_with_the_flush(ends: tuple[Channel, Any]) -> None:
    channel, other = ends
    channel.together = True
    await channel.put(ONE)
    await channel.put(TWO)
    await channel.flush()
    await channel.put(TWO)
    await channel.flush()
    assert PEER.decode_all(await other.get_message()) == [ONE, TWO]
    assert PEER.decode_all(await other.get_message()) == [TWO]
    await other.send_message(together([encode(TWO), encode(ONE)]))
    assert await channel.receive() == [TWO, ONE]


async def test_many_bytes_wait_for_no_flush(ends: tuple[Channel, Any]) -> None:
    channel, other = ends
    channel.together = True
    count = -(-SEND_BYTES // len(encode(ONE)))
    for _ in range(count):
        await channel.put(ONE)
    with trio.fail_after(2):
        assert PEER.decode_all(await other.get_message()) == [ONE] * count


async def test_nothing_to_say_is_no_message(ends: tuple[Channel, Any]) -> None:
    channel, other = ends
    channel.together = True
    await channel.flush()
    await channel.put(ONE)
    await channel.flush()
    assert PEER.decode_all(await other.get_message()) == [ONE]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("garbage", [b"", b"\xc1", "text"])
async def test_what_is_no_message(ends: tuple[Channel, Any], garbage: Any, several: bool) -> None:
    channel, other = ends
    channel.together = several
    await other.send_message(garbage)
    with pytest.raises(WireError):
        await channel.receive()


async def test_one_where_several_belong_and_the_other_way(ends: tuple[Channel, Any]) -> None:
    channel, other = ends
    await other.send_message(together([encode(ONE)]))
    with pytest.raises(WireError):
        await channel.receive()
    channel.together = True
    await other.send_message(encode(ONE))
    with pytest.raises(WireError):
        await channel.receive()
