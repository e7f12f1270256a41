from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
import trio_websocket

from p2p.core.wire import tracker as wire
from p2p.core.wire.codec import encode
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from tracker import hub as module

A = "sha256:" + "a" * 64
SIZE = 10 << 20


async def test_a_want_and_its_plan(hub, speaker):
    async with hub() as (_, address), speaker(address) as a, speaker(address) as b:
        await a.hello("a")
        assert (await a.hear(wire.Welcome)).host == "127.0.0.1"
        await b.hello("b")
        await a.say(wire.Announce((Holding(A, SIZE, 10, True),)))
        await b.hear(wire.Welcome)
        await b.say(wire.Want(A, SIZE, False))
        plan = await b.hear(wire.Plan)
        while not plan.providers:
            plan = await b.hear(wire.Plan)
        assert [one.name for one in plan.providers] == ["a"]


@pytest.mark.slow
async def test_ticks_steal_a_lease_from_a_silent_holder(hub, speaker, monkeypatch):
    monkeypatch.setattr("tracker.leases.PATIENCE", 0.3)
    async with hub() as (_, address), speaker(address) as a, speaker(address) as b:
        await a.hello("a")
        await a.say(wire.Want(A, SIZE, True))
        assert (await a.hear(wire.Plan)).lease == "granted"
        await b.hello("b")
        await b.say(wire.Want(A, SIZE, True))
        assert (await b.hear(wire.Plan)).lease == "held"
        await a.hear(wire.LeaseLost)
        assert (await b.hear(wire.Plan)).lease == "granted"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xa5hello",
        "text",
        encode(wire.Plan(A, 0, (), "held", 0, "", 3.0)),
        encode(wire.ListNodes()),
        encode(wire.NodeHello(PROTOCOL_VERSION, "0", "a", "", 1)),
        encode(wire.ClientHello(PROTOCOL_VERSION + 1)),
    ],
)
async def test_garbage_is_refused_with_a_reason(hub, speaker, data):
    async with hub() as (one, address), speaker(address) as a:
        await a.socket.send_message(data)
        assert (await a.hear(wire.Refused)).reason
        assert await a.closed()
        async with speaker(address) as b:
            await (await b.hello("b")).hear(wire.Welcome)
        assert one.machine.table.nodes.keys() == {b"b".hex().ljust(32, "0")}


async def test_garbage_after_a_hello_and_no_second_chance(hub, speaker):
    async with hub() as (one, address), speaker(address) as a:
        await (await a.hello("a")).hear(wire.Welcome)
        for data in (b"\xc1", encode(wire.ListNodes()), b"\xc1"):
            await a.socket.send_message(data)
        await a.hear(wire.Refused)
        await a.closed()
        assert one.machine.counters.messages == 0


async def test_a_message_too_large_ends_the_connection(hub, speaker):
    async with hub() as (_, address), speaker(address) as a:
        await (await a.hello("a")).hear(wire.Welcome)
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await a.socket.send_message(b"x" * (2 << 20))
        assert "size" in await a.closed()


@pytest.mark.slow
async def test_a_slow_reader_is_cut_and_the_others_do_not_wait(hub, speaker):
    async with hub(outbox_limit=200_000) as (one, address):
        host, _, port = address.rpartition(":")
        slow = await trio.open_tcp_stream(host, int(port))
        try:
            async with trio.open_nursery() as nursery:
                socket = await trio_websocket.wrap_client_stream(
                    nursery, slow, address, "/ws", message_queue_size=0
                )
                await socket.send_message(
                    encode(wire.NodeHello(PROTOCOL_VERSION, "5" * 32, "slow", "", 5001))
                )
                with trio.fail_after(20):
                    # Ask for tables for ever, and never read one.
                    while not one.slow:
                        with trio.move_on_after(0.05):
                            try:
                                await socket.send_message(encode(wire.AskReference(1, "r" * 1000, "t")))
                                await socket.send_message(encode(wire.ListNodes()))
                            except trio_websocket.ConnectionClosed:
                                pass
                        for conn in list(one._outboxes):
                            for _ in range(100):
                                one._queue(one._outboxes[conn], wire.Refused("x" * 8000))
                            break
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(slow)
        async with speaker(address) as a:
            await (await a.hello("a")).hear(wire.Welcome)
        await trio.testing.wait_all_tasks_blocked()
        assert one.machine.table.nodes["5" * 32].conn is None


async def test_nobody_says_hello(hub, speaker, monkeypatch):
    monkeypatch.setattr(module, "HELLO_TIMEOUT", 0.05)
    async with hub() as (one, address), speaker(address) as a:
        await a.closed()
        assert one.machine.connections == 0


async def test_no_websocket_at_all(hub, monkeypatch):
    monkeypatch.setattr(module, "HELLO_TIMEOUT", 0.05)
    async with hub() as (_, address):
        host, _, port = address.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            with trio.fail_after(5):
                with contextlib.suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""


async def test_an_answer_too_large_ends_its_connection_only(hub, speaker):
    async with hub() as (one, address), speaker(address) as a:
        await (await a.hello("a")).hear(wire.Welcome)
        (outbox,) = one._outboxes.values()
        one._queue(outbox, wire.Refused("x" * (2 << 20)))
        assert await a.closed()


async def test_a_cancelled_hub_leaves_nothing(hub, speaker):
    async with hub() as (one, address), speaker(address) as a:
        await (await a.hello("a")).hear(wire.Welcome)
    assert not one._outboxes
    assert one.machine.connections == 0
