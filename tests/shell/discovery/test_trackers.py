from __future__ import annotations

import random

import pytest
import trio
import trio_websocket

from p2p.core.oci.digest import Digest
from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.core.wire.codec import encode
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from p2p.core.wire.tracker import Welcome
from p2p.discovery.standing import RETURN, SPREAD
from p2p.discovery.tracker_client import TrackerClient
from p2p.discovery.trackers import Trackers
from tests.support.control_plane_suite import *  # noqa: F403  # the suite

SIZE = 10 << 20


def one(urls, identity, name, options):
    (url,) = urls
    return TrackerClient(url, identity, rng=random.Random(name), **options)


def several(urls, identity, name, options):
    return Trackers(urls, identity, rng=random.Random(name), **options)


@pytest.fixture(params=[(1, one), (1, several), (2, several), (3, several)], ids=["client", "1", "2", "3"])
def plane(request, planes):
    return planes(*request.param)


def want(client, digest, sink, *, lease=True):
    client.want(digest, SIZE, lease=lease, unreachable=frozenset(), sink=sink)


def granted(news):
    return isinstance(news, Planned) and news.lease is LeaseState.GRANTED


def held(news):
    return isinstance(news, Planned) and news.lease is LeaseState.HELD


def led_by(client, place, seed="led"):
    """A digest that the tracker at ``place`` is the first of."""
    digests = (Digest.of(f"{seed} {n}".encode()) for n in range(100))
    return next(digest for digest in digests if client._standing.ranking(str(digest))[0] == place)


async def settle():
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_lease_survives_its_tracker_and_nobody_else_is_granted(planes, news):
    async with planes(2, several)() as start:
        a, b = await start("a"), await start("b")
        digest, at_a, at_b = led_by(a, 0), news(), news()
        want(a, digest, at_a)
        epoch = (await at_a.until(granted)).epoch
        want(b, digest, at_b)
        await at_b.until(held)
        await settle()
        at_a.all.clear()
        at_b.all.clear()
        began = trio.current_time()
        await start.cut(0)
        plan = await at_b.until(lambda n: isinstance(n, Planned))
        assert trio.current_time() - began < 0.5, "at once"
        assert plan.lease is LeaseState.HELD
        assert [provider.name for provider in plan.providers] == ["a"]
        assert (await at_a.until(lambda n: isinstance(n, Planned))).epoch == epoch
        assert a.held(digest) == epoch
        assert not any(isinstance(n, LeaseLost) for n in at_a.all)
        assert a.available
        # Its holder goes as well: the second tracker gives the lease to whoever asks.
        a.release(digest, epoch, done=False)
        again = await at_b.until(granted)
        assert again.epoch > epoch


async def test_what_was_announced_is_known_at_the_second_tracker(planes, news):
    async with planes(3, several)() as start:
        a, b = await start("a"), await start("b")
        digest, at_b = led_by(b, 1), news()
        a.announce(Holding(str(digest), SIZE, 10, complete=True))
        await start.cut(1)
        with trio.fail_after(8):
            while b.ways()[f"tracker ws://{start.addresses[1]}/ws"]:
                await trio.testing.wait_all_tasks_blocked(0.01)
        want(b, digest, at_b)
        plan = await at_b.until(lambda n: isinstance(n, Planned))
        assert plan.lease is LeaseState.NONE
        assert plan.providers[0].complete


@pytest.mark.slow
async def test_a_tracker_that_hangs_is_passed_over(planes, nursery, news):
    """It accepts, greets, and then says nothing: for as long as its connection lives."""
    async with planes(1, several)() as start:
        hung = await nursery.start(hanging)
        start.addresses.append(hung)
        changes = []
        a = await start("a", on_change=changes.append)
        digest, at_a = led_by(a, 1), news()
        began = trio.current_time()
        want(a, digest, at_a)
        await at_a.until(granted)
        assert 0.5 < trio.current_time() - began < 3
        assert changes == [True], "the control plane is there all the time"
        a.unwant(digest)
        other = led_by(a, 1, "more")
        began = trio.current_time()
        want(a, other, at_a)
        await at_a.until(lambda n: a.held(other))
        assert trio.current_time() - began < 0.5, "found out once, not for every blob"
        nursery.cancel_scope.cancel()


async def hanging(*, task_status):
    async def talk(request):
        socket = await request.accept()
        await socket.get_message()
        await socket.send_message(encode(Welcome(PROTOCOL_VERSION, 1.0, "h")))
        try:
            while True:
                await socket.get_message()
        except trio_websocket.ConnectionClosed:
            return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, talk, "127.0.0.1", 0, None)
        task_status.started(f"127.0.0.1:{server.port}")


async def test_two_that_were_granted_at_once_become_one(planes, news):
    """Two nodes see different trackers alive: the first one's lease prevails within a round trip."""
    async with planes(2, several)() as start:
        a, b = await start("a"), await start("b")
        digest, at_a, at_b = led_by(a, 0), news(), news()
        b._standing.down(0, trio.current_time())
        want(b, digest, at_b)
        second = await at_b.until(granted)
        lease = b._leases[str(digest)]
        assert lease.rank == 1
        # The word of b's lease to the first tracker is lost: else a would not be granted anything.
        b._clients[0].drop(str(digest), second.epoch)
        await settle()
        want(a, digest, at_a)
        first = await at_a.until(lambda n: granted(n) or held(n))
        began = trio.current_time()
        if granted(first):
            await at_b.until(lambda n: isinstance(n, LeaseLost))
            assert trio.current_time() - began < 0.5
            assert not b.held(digest)
            assert a.held(digest)
        assert sum(bool(one.held(digest)) for one in (a, b)) == 1
        assert not any(isinstance(n, LeaseLost) for n in at_a.all)


@pytest.mark.slow
async def test_nodes_go_back_to_a_tracker_that_returned_and_the_lease_goes_along(planes, news, tracker):
    async with planes(2, several)() as start:
        a, b = await start("a"), await start("b")
        digest, at_a, at_b = led_by(a, 0), news(), news()
        await start.cut(0)
        with trio.fail_after(8):
            while a._clients[0].available or b._clients[0].available:
                await trio.testing.wait_all_tasks_blocked(0.01)
        want(a, digest, at_a)
        epoch = (await at_a.until(granted)).epoch
        want(b, digest, at_b)
        await at_b.until(held)
        async with tracker(start.addresses[0]), trio.open_nursery() as nursery:

            async def stream():
                offset = 0
                while True:
                    offset += 1000
                    a.progress(digest, epoch, offset)
                    await trio.sleep(0.2)

            nursery.start_soon(stream)
            with trio.fail_after(RETURN + SPREAD + 5):
                while a._wants[str(digest)].place != 0 or b._wants[str(digest)].place != 0:
                    await trio.testing.wait_all_tasks_blocked(0.05)
            at_a.all.clear()
            at_b.all.clear()
            assert (await at_a.until(granted)).epoch == epoch
            await at_b.until(held)
            assert not any(isinstance(n, LeaseLost) for n in at_a.all)
            nursery.cancel_scope.cancel()


async def test_one_url_twice_is_one_tracker(planes):
    async with planes(1, several)() as start:
        start.addresses *= 2
        a = await start("a")
        assert a.ways() == {"tracker": True}
