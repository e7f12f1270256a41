from __future__ import annotations

import pytest
import trio
import trio_websocket

from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.core.wire.codec import encode
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.core.wire.tracker import Intent, IntentProgress, Plan, PlansStand, Refused, Welcome
from p2p.discovery.api import KnownReference

SIZE = 10 << 20


async def test_a_lease_for_one_and_a_plan_for_the_other(nursery, tracker, client, news, digest):
    async with tracker() as address:
        a, b, at_a, at_b = client(address, "a"), client(address, "b"), news(), news()
        await nursery.start(a.run)
        await nursery.start(b.run)
        await a.on_change.be(True)
        await b.on_change.be(True)
        assert a.observed_host == "127.0.0.1"
        a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_a)
        granted = await at_a.until(lambda n: isinstance(n, Planned) and n.lease is LeaseState.GRANTED)
        assert a.held(digest) == granted.epoch
        b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
        planned = await at_b.until(lambda n: isinstance(n, Planned))
        assert planned.lease is LeaseState.HELD
        assert [(one.name, one.host, one.port) for one in planned.providers] == [("a", "127.0.0.1", 5001)]
        a.release(digest, granted.epoch, done=False)
        await at_b.until(lambda n: isinstance(n, Planned) and n.lease is LeaseState.GRANTED)
        a.announce(Holding(str(digest), SIZE, 10, complete=True))
        await at_b.until(lambda n: isinstance(n, Planned) and n.providers and n.providers[0].complete)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_restarted_tracker_is_told_everything_again(nursery, tracker, client, news, digest):
    async with tracker() as address:
        a, b, at_a, at_b = client(address, "a"), client(address, "b"), news(), news()
        a.announce(Holding(str(digest), SIZE, 10, complete=True))
        await nursery.start(a.run)
        await nursery.start(b.run)
        b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
        await at_b.until(lambda n: isinstance(n, Planned) and n.providers)
    await a.on_change.be(False)
    await b.on_change.be(False)
    at_b.all.clear()
    started = trio.current_time()
    async with tracker(address):
        await at_b.until(lambda n: isinstance(n, Planned) and [p.name for p in n.providers] == ["a"])
        assert trio.current_time() - started < 10
        nursery.cancel_scope.cancel()
    assert not at_a.all


@pytest.mark.slow
async def test_a_held_lease_survives_the_trackers_restart(nursery, tracker, client, news, digest):
    async with tracker() as address:
        a, b, at_a, at_b = client(address, "a"), client(address, "b"), news(), news()
        await nursery.start(a.run)
        a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_a)
        granted = await at_a.until(lambda n: isinstance(n, Planned) and n.lease is LeaseState.GRANTED)
        a.progress(digest, granted.epoch, 1 << 20)
        a.announce(Holding(str(digest), SIZE, 1, complete=False))
        await nursery.start(b.run)
        b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
        await at_b.until(lambda n: isinstance(n, Planned) and n.providers)
    await a.on_change.be(False)
    await b.on_change.be(False)
    at_a.all.clear()
    at_b.all.clear()
    async with tracker(address):
        again = await at_a.until(lambda n: isinstance(n, Planned) and n.lease is LeaseState.GRANTED)
        assert again.epoch == granted.epoch
        await at_b.until(lambda n: isinstance(n, Planned) and n.lease is LeaseState.HELD and n.providers)
        assert not any(isinstance(n, LeaseLost) for n in at_a.all)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_flapping_tracker(nursery, tracker, client, news, digest):
    """Up and down several times: whenever it is there, it answers."""
    listen = "127.0.0.1:0"
    a = b = None
    at_b = news()
    for _ in range(4):
        async with tracker(listen) as address:
            listen = address
            if a is None:
                a, b = client(address, "a"), client(address, "b")
                a.announce(Holding(str(digest), SIZE, 10, complete=True))
                b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
                await nursery.start(a.run)
                await nursery.start(b.run)
            await at_b.until(lambda n: isinstance(n, Planned) and n.providers)
        await b.on_change.be(False)
        at_b.all.clear()
    assert b.on_change.all.count(True) >= 4
    nursery.cancel_scope.cancel()


async def test_tags_and_intents(nursery, tracker, client, digest):
    async with tracker() as address:
        intents = []
        a, b = client(address, "a"), client(address, "b", on_intent=intents.append)
        assert await b.find_reference("hub/app", "1") is None
        await nursery.start(a.run)
        await nursery.start(b.run)
        await a.on_change.be(True)
        await b.on_change.be(True)
        known = KnownReference(digest, "application/x", 7, 3.0)
        a.seen("hub/app", "1", known)
        found = None
        with trio.fail_after(5):
            while found is None:
                found = await b.find_reference("hub/app", "1")
        assert (found.digest, found.media_type, found.size) == (digest, "application/x", 7)
        assert 3.0 <= found.age < 8
        assert await b.find_reference("hub/app", "2") is None
        nursery.cancel_scope.cancel()


async def fake(nursery, answers):
    """A tracker of the test's own: says ``answers`` after the first message, then hangs up if told so."""

    async def talk(request):
        socket = await request.accept()
        await socket.get_message()
        for answer in answers:
            await socket.send_message(answer)
        try:
            await socket.get_message()
            await trio.sleep_forever()
        except trio_websocket.ConnectionClosed:
            return

    server = await nursery.start(trio_websocket.serve_websocket, talk, "127.0.0.1", 0, None)
    return f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "answers",
    [
        [b"\xff\xff garbage"],
        [encode(Welcome(PROTOCOL_VERSION, 1.0, "h")), b"\x91"],
        [encode(Welcome(PROTOCOL_VERSION, 1.0, "h")), "text"],
        [encode(Welcome(PROTOCOL_VERSION + 1, 1.0, "h"))],
        [encode(Refused("no"))],
        [encode(Welcome(PROTOCOL_VERSION, 1.0, "h")), encode(Refused("no more"))],
        [encode(Intent("j", ("image",)))],
    ],
)
async def test_a_tracker_that_makes_no_sense_is_left(nursery, client, answers):
    a = client(await fake(nursery, answers), "a")
    await nursery.start(a.run)
    await a.on_change.be(False)
    assert not a.available
    nursery.cancel_scope.cancel()


async def test_intents_and_plans_nobody_asked_for(nursery, client, digest):
    intents, got = [], trio.Event()

    def on_intent(intent):
        intents.append(intent)
        got.set()

    plan = encode(Plan(str(digest), 1, (), "granted", 3, "", 3.0))
    address = await fake(
        nursery, [encode(Welcome(PROTOCOL_VERSION, 1.0, "h")), plan, encode(Intent("j", ("image",)))]
    )
    a = client(address, "a", on_intent=on_intent)
    await nursery.start(a.run)
    with trio.fail_after(5):
        await got.wait()
    assert intents == [Intent("j", ("image",))]
    assert a.held(digest) == 0
    a.report(IntentProgress("j", "image", "done", 1, ()))
    nursery.cancel_scope.cancel()


async def test_a_plan_that_crossed_the_release_of_its_lease_grants_nothing(nursery, client, news, digest):
    plan = encode(Plan(str(digest), SIZE, (), "granted", 3, "", 3.0))
    stand = encode(PlansStand((str(digest),)))
    address = await fake(nursery, [encode(Welcome(PROTOCOL_VERSION, 1.0, "h")), plan, plan, stand])
    a, at_a = client(address, "a"), news()

    def sink(planned):
        at_a(planned)
        a.release(digest, 3, done=False)

    a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=sink)
    await nursery.start(a.run)
    await at_a.until(lambda _: len(at_a.all) == 3)
    assert [one.lease for one in at_a.all] == [LeaseState.GRANTED, LeaseState.HELD, LeaseState.HELD]
    assert a.held(digest) == 0
    nursery.cancel_scope.cancel()


async def test_nobody_listens(autojump_clock, nursery, client):
    """Attempts go on for ever, ever slower, and cost nobody anything."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    a = client(f"127.0.0.1:{port}", "a")
    await nursery.start(a.run)
    await a.on_change.reach(12)
    assert 5 < trio.current_time() < 60
    assert not any(a.on_change.all)
    nursery.cancel_scope.cancel()
