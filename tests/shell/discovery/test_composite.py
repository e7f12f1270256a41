from __future__ import annotations

import random

import pytest
import trio

from p2p.core.swarm.events import LeaseLost, LeaseState, Planned
from p2p.core.wire.common import Holding, Provider
from p2p.discovery.api import KnownReference
from p2p.discovery.claims import JITTER, SETTLE, STEP
from p2p.discovery.composite import DHT_FIRST, DHT_LAST, Routes
from p2p.discovery.fallback import ANSWER, FOUND
from p2p.discovery.static import StaticPeers

ME = "0" * 32
PEER = Provider("1" * 32, "one", "10.0.0.1", 5001)


class Twin:
    """A tracker's client in memory: answers what the test says."""

    def __init__(self, up=True):
        self.available = up
        self.on_change = None
        self.wants, self.sinks = {}, {}
        self.calls = []
        self.known = None
        self.epoch = 0

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

    def change(self, up):
        self.available = up
        self.on_change(up)

    def held(self, digest):
        return self.epoch

    def want(self, digest, size, *, lease, unreachable, sink):
        self.sinks[digest] = sink
        self.calls.append(("want", lease, unreachable))

    def unwant(self, digest):
        self.calls.append(("unwant",))

    def announce(self, holding):
        self.calls.append(("announce", holding))

    def progress(self, digest, epoch, offset):
        self.calls.append(("progress", epoch, offset))

    def release(self, digest, epoch, *, done):
        self.calls.append(("release", epoch, done))

    def seen(self, repository, reference, known):
        self.calls.append(("seen", repository, reference))

    async def find_reference(self, repository, reference):
        return self.known


class Dht:
    """The DHT in memory: answers what the test says."""

    def __init__(self):
        self.available = True
        self.on_contact = None
        self.sinks, self.calls = {}, []

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

    def want(self, digest, size, *, lease, unreachable, sink):
        self.sinks[digest] = sink
        self.calls.append(("want", trio.current_time(), unreachable))

    def unwant(self, digest):
        self.calls.append(("unwant",))

    def announce(self, holding):
        self.calls.append(("announce", holding))

    def meet(self, provider):
        self.calls.append(("meet", provider.host))

    def answer(self, digest, *providers):
        plan = Planned(providers, LeaseState.UNASKED, exclusive=False, size=0, route="dht")
        self.sinks[digest](plan)

    @property
    def wants(self):
        return [call for call in self.calls if call[0] == "want"]


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


def make(tracker, *peers, **options):
    return Routes(ME, static=StaticPeers(peers, own=ME), tracker=tracker, rng=random.Random(1), **options)


async def test_without_a_tracker_and_alone_the_claim_is_immediate(clock, nursery, news, digest):
    routes, got = make(None), news()
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    assert not got.all, "never from inside the call"
    planned = await got.until(lambda n: True)
    assert planned == Planned((), LeaseState.GRANTED, 0, exclusive=False, size=5, route="static")
    assert trio.current_time() < 0.01
    assert routes.available
    nursery.cancel_scope.cancel()


async def test_with_others_known_the_claim_waits_its_turn(clock, nursery, news, digest):
    routes, got = make(None, "10.0.0.1:5001", "10.0.0.2:5001", "10.0.0.3:5001"), news()
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    first = await got.until(lambda n: True)
    assert len(first.providers) == 3
    granted = await got.until(lambda n: n.lease is LeaseState.GRANTED)
    assert granted.epoch == 0
    assert not granted.exclusive
    assert trio.current_time() - start <= SETTLE + 3 * STEP + JITTER
    nursery.cancel_scope.cancel()


async def test_a_tracker_that_answers_leads(clock, nursery, news, digest):
    tracker, got = Twin(), news()
    routes = make(tracker, "10.0.0.9:5001")
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset({"x"}), sink=got)
    assert tracker.calls == [("want", True, frozenset({"x"}))]
    tracker.sinks[digest](Planned((PEER,), LeaseState.HELD, 3))
    await trio.sleep(1)
    (planned,) = got.all
    assert planned.exclusive
    assert [one.host for one in planned.providers] == ["10.0.0.1", "10.0.0.9"]
    tracker.sinks[digest](LeaseLost(3))
    assert got.all[-1] == LeaseLost(3)
    nursery.cancel_scope.cancel()


async def test_a_silent_tracker_is_waited_for(clock, nursery, news, digest):
    tracker, got = Twin(), news()
    routes = make(tracker)
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    planned = await got.until(lambda n: True)
    assert planned.route == "static"
    assert ANSWER - 0.01 < trio.current_time() - start < ANSWER + 0.05
    tracker.sinks[digest](Planned((PEER,), LeaseState.HELD, 3))
    assert got.all[-1].route == "tracker"
    nursery.cancel_scope.cancel()


async def test_a_lost_tracker_is_replaced_at_once_and_not_waited_for(clock, nursery, news, digest):
    tracker, got = Twin(), news()
    routes = make(tracker, "10.0.0.1:5001")
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=False, unreachable=frozenset(), sink=got)
    tracker.sinks[digest](Planned((PEER,), LeaseState.HELD, 3))
    start = trio.current_time()
    tracker.change(False)
    planned = await got.until(lambda n: n.route == "static")
    assert planned.lease is LeaseState.UNASKED
    other = news()
    routes.want(digest, 5, lease=False, unreachable=frozenset(), sink=other)
    await other.until(lambda n: n.route == "static")
    assert trio.current_time() - start < 0.01
    tracker.change(True)
    nursery.cancel_scope.cancel()


async def test_a_stream_under_a_lost_trackers_lease_goes_on(clock, nursery, news, digest):
    tracker, got = Twin(), news()
    routes = make(tracker, "10.0.0.1:5001", "10.0.0.2:5001")
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    tracker.epoch = 9
    tracker.sinks[digest](Planned((), LeaseState.GRANTED, 9))
    tracker.change(False)
    planned = await got.until(lambda n: n.route == "static")
    assert (planned.lease, planned.epoch, planned.exclusive) == (LeaseState.GRANTED, 9, False)
    nursery.cancel_scope.cancel()


async def test_claims_are_not_the_trackers_business(clock, nursery, news, digest):
    tracker, got = Twin(up=False), news()
    routes = make(tracker)
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    tracker.change(False)
    await got.until(lambda n: n.lease is LeaseState.GRANTED)
    routes.progress(digest, 0, 5)
    routes.release(digest, 0, done=True)
    routes.progress(digest, 4, 5)
    routes.release(digest, 4, done=True)
    routes.unwant(digest)
    assert tracker.calls[1:] == [("progress", 4, 5), ("release", 4, True), ("unwant",)]
    tracker.sinks[digest](Planned((), LeaseState.HELD, 3))
    assert got.all[-1].route == "static", "unwanted: nothing more comes"
    nursery.cancel_scope.cancel()


async def test_announcements_and_tags_go_all_ways(nursery, digest):
    tracker = Twin()
    asked = []
    known = KnownReference(digest, "m", 1, 2.0)

    async def ask_peers(repository, reference):
        asked.append((repository, reference))
        return known

    routes = make(tracker, ask_peers=ask_peers)
    routes.announce(Holding(str(digest), 1, 1, True))
    routes.seen("r", "t", known)
    assert tracker.calls == [("announce", Holding(str(digest), 1, 1, True)), ("seen", "r", "t")]
    assert await routes.find_reference("r", "t") is known
    assert asked == [("r", "t")]
    tracker.known = KnownReference(digest, "other", 1, 2.0)
    assert await routes.find_reference("r", "t") is tracker.known
    assert await make(None).find_reference("r", "t") is None
    assert len(asked) == 1


async def test_known_from_plans_make_a_claim_wait(clock, nursery, news, digest):
    """All nodes of a swarm lose their tracker at once: they know each other from its plans."""
    tracker, got = Twin(), news()
    routes = make(tracker)
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    others = tuple(Provider(f"{n:032x}", f"n{n}", "10.1.0.1", 6000 + n) for n in range(1, 20))
    tracker.sinks[digest](Planned(others, LeaseState.HELD, 3))
    start = trio.current_time()
    tracker.change(False)
    await got.until(lambda n: n.lease is LeaseState.GRANTED)
    assert trio.current_time() > start
    nursery.cancel_scope.cancel()


async def test_nobody_hears_of_what_is_confined(clock, nursery, news, digest):
    tracker, got, confined = Twin(), news(), {digest}
    routes = make(tracker, "10.0.0.1:5001", "10.0.0.2:5001", confined=confined)
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    planned = await got.until(lambda n: True)
    assert planned == Planned((), LeaseState.GRANTED, 0, exclusive=False, size=5, route="origin")
    assert trio.current_time() - start < 0.01
    routes.announce(Holding(str(digest), 5, 1, False))
    routes.announce(Holding(str(digest), 5, 1, True))
    routes.unwant(digest)
    assert [call[0] for call in tracker.calls] == ["unwant", "unwant"]
    # That it is gone may be said: it may have been announced before.
    routes.announce(Holding(str(digest), 0, 0, False))
    assert tracker.calls[-1] == ("announce", Holding(str(digest), 0, 0, False))
    confined.clear()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    routes.announce(Holding(str(digest), 5, 1, True))
    assert [call[0] for call in tracker.calls[3:]] == ["want", "announce"]
    nursery.cancel_scope.cancel()


async def test_a_want_of_what_was_confined_meanwhile_is_taken_back(clock, nursery, news, digest):
    tracker, got, confined = Twin(), news(), set()
    routes = make(tracker, "10.0.0.1:5001", confined=confined)
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    confined.add(digest)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    assert [call[0] for call in tracker.calls] == ["want", "unwant"]
    planned = await got.until(lambda n: n.route == "origin")
    assert planned.providers == ()
    nursery.cancel_scope.cancel()


async def test_with_a_zone_a_trackers_plan_is_all_there_is(clock, nursery, news, digest):
    tracker, dht, got = Twin(), Dht(), news()
    routes = make(tracker, "10.0.0.1:5001", "10.0.0.2:5001", "10.0.0.3:5001", dht=dht, zone="here")
    await nursery.start(routes.run)
    routes.met(Provider("1" * 32, "one", "10.0.0.1", 5001, zone="here"))
    routes.met(Provider("2" * 32, "two", "10.0.0.2", 5001, zone="there"))
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    tracker.sinks[digest](Planned((), LeaseState.HELD, 0, exclusive=True, size=5))
    await trio.sleep(0.5)
    assert [[one.host for one in plan.providers] for plan in got.all] == [["10.0.0.1"]]
    assert dht.wants == [], "that nobody is named does not mean that nobody is known"
    tracker.change(up=False)
    await got.until(lambda n: n.route == "static")
    assert {one.zone for one in got.all[-1].providers} == {"here", "there", ""}
    nursery.cancel_scope.cancel()


FAR = Provider("static:10.0.0.8:5001", "10.0.0.8:5001", "10.0.0.8", 5001, complete=True)


async def test_known_peers_then_the_dht_then_the_claim(clock, nursery, news, digest):
    dht, got = Dht(), news()
    routes = make(None, "10.0.0.1:5001", dht=dht)
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    first = await got.until(lambda n: True)
    assert (first.route, first.lease, dht.wants) == ("static", LeaseState.HELD, [])
    await trio.sleep(0.3)
    ((_, asked, _),) = dht.wants
    assert DHT_FIRST <= asked - start <= DHT_LAST + 0.01
    dht.answer(digest, FAR)
    assert got.all[-1].providers == (FAR,)
    found_at = trio.current_time()
    granted = await got.until(lambda n: n.lease is LeaseState.GRANTED)
    assert trio.current_time() - found_at >= FOUND - 0.01, "those who were found come first"
    assert [one.host for one in granted.providers] == ["10.0.0.8", "10.0.0.1"]
    routes.unwant(digest)
    assert dht.calls[-1] == ("unwant",)
    dht.answer(digest, FAR)
    assert got.all[-1] is granted, "unwanted: nothing more comes"
    nursery.cancel_scope.cancel()


async def test_a_miss_of_the_dht_lets_the_claim_go_on(clock, nursery, news, digest):
    dht, got = Dht(), news()
    routes = make(None, dht=dht)
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    await trio.sleep(0.05)
    assert len(dht.wants) == 1, "with nobody known it is asked at once"
    dht.answer(digest)
    granted = await got.until(lambda n: n.lease is LeaseState.GRANTED)
    assert trio.current_time() - start < 0.1
    assert all(n.route == "static" for n in got.all)
    assert granted.providers == ()
    nursery.cancel_scope.cancel()


async def test_a_tracker_that_names_somebody_makes_the_dht_needless(clock, nursery, news, digest):
    tracker, dht, got = Twin(), Dht(), news()
    routes = make(tracker, dht=dht)
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    tracker.sinks[digest](Planned((PEER,), LeaseState.HELD, 3))
    await trio.sleep(0.5)
    assert dht.wants == []
    assert dht.calls == [("meet", "10.0.0.1")], "whom the tracker names may be a node of the DHT"
    start = trio.current_time()
    tracker.change(False)
    await got.until(lambda n: n.route == "static")
    ((_, asked, _),) = dht.wants
    assert asked - start < 0.01, "at once"
    nursery.cancel_scope.cancel()


async def test_while_the_tracker_is_away_the_dht_is_asked_at_once(clock, nursery, news, digest):
    tracker, dht, got = Twin(up=False), Dht(), news()
    routes = make(tracker, "10.0.0.1:5001", dht=dht)
    await nursery.start(routes.run)
    tracker.change(False)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    await trio.sleep(0.01)
    ((_, asked, _),) = dht.wants
    assert asked == start
    routes.want(digest, 5, lease=True, unreachable=frozenset({FAR.node}), sink=got)
    await trio.sleep(0.01)
    assert dht.wants[-1][2] == frozenset({FAR.node}), "it hears who failed"
    nursery.cancel_scope.cancel()


async def test_contacts_of_the_dht_are_known_peers_and_known_peers_are_led_to_it(nursery, digest):
    dht = Dht()
    static = StaticPeers((), own=ME)
    routes = Routes(ME, static=static, tracker=None, rng=random.Random(1), dht=dht)
    dht.on_contact(PEER)
    assert static.nodes() == (PEER.node,)
    routes.met(Provider("2" * 32, "two", "10.0.0.2", 5001))
    assert static.nodes() == (PEER.node, "2" * 32)
    holding = Holding(str(digest), 1, 1, True)
    routes.announce(holding)
    assert dht.calls == [("meet", "10.0.0.2"), ("announce", holding)]


async def test_the_dht_hears_nothing_of_what_is_confined(clock, nursery, news, digest):
    dht, got, confined = Dht(), news(), {digest}
    routes = make(None, "10.0.0.1:5001", dht=dht, confined=confined)
    await nursery.start(routes.run)
    start = trio.current_time()
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    planned = await got.until(lambda n: True)
    assert (planned.lease, planned.route) == (LeaseState.GRANTED, "origin")
    assert trio.current_time() - start < 0.01, "nor is it waited for"
    await trio.sleep(5)
    routes.announce(Holding(str(digest), 5, 1, True))
    assert {call[0] for call in dht.calls} <= {"unwant"}
    nursery.cancel_scope.cancel()


async def test_the_dht_is_not_listened_to_when_a_want_becomes_confined(clock, nursery, news, digest):
    dht, got, confined = Dht(), news(), set()
    routes = make(None, dht=dht, confined=confined)
    await nursery.start(routes.run)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    await trio.sleep(0.01)
    confined.add(digest)
    routes.want(digest, 5, lease=True, unreachable=frozenset(), sink=got)
    assert dht.calls[-1] == ("unwant",)
    dht.answer(digest, FAR)
    await got.until(lambda n: n.route == "origin")
    assert not any(n.providers for n in got.all)
    nursery.cancel_scope.cancel()
