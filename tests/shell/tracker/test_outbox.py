from __future__ import annotations

import pytest
import trio

from tracker.outbox import Outbox


async def test_messages_go_in_order_and_a_close_lets_them(nursery):
    cuts, sent = [], []
    outbox = Outbox(lambda: cuts.append(1), limit=100)

    async def send(data):
        await trio.lowlevel.checkpoint()
        sent.append(data)

    outbox.put(b"a")
    nursery.start_soon(outbox.drain, send)
    await trio.testing.wait_all_tasks_blocked()
    outbox.put(b"b")
    outbox.put(b"c")
    outbox.close("enough")
    outbox.close("again")
    outbox.put(b"d")
    await trio.testing.wait_all_tasks_blocked()
    assert sent == [b"a", b"bc"], "what waits goes together"
    assert (outbox.reason, cuts, outbox.overflowed) == ("enough", [], False)


async def test_beyond_the_limit_the_connection_is_cut_once():
    cuts = []
    outbox = Outbox(lambda: cuts.append(1), limit=10)
    outbox.put(b"12345678")
    outbox.put(b"12345678")
    outbox.put(b"1")
    assert cuts == [1]
    assert outbox.overflowed
    assert "too slowly" in outbox.reason


async def test_what_was_sent_makes_room():
    outbox = Outbox(lambda: pytest.fail("cut"), limit=10)

    async def send(data):
        await trio.lowlevel.checkpoint()

    for _ in range(5):
        outbox.put(b"12345678")
        with trio.move_on_after(0):
            await outbox.drain(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.drain, send)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_failing_send_ends_it():
    outbox = Outbox(lambda: None)
    outbox.put(b"x")

    async def send(data):
        raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await outbox.drain(send)
