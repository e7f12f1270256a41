"""Leases of zones: each reads a blob from its origin once, by itself."""

from __future__ import annotations

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION
from tracker.events import Connected

A = "sha256:" + "a" * 64


def nid(name):
    return name.encode().hex().ljust(32, "0")[:32]


def node(world, name, zone):
    world.conns += 1
    hello = wire.NodeHello(PROTOCOL_VERSION, nid(name), name, "", 5001, zone)
    world.do(Connected(world.conns, hello, "10.0.0.1"))
    return world.conns


def four(world):
    return [node(world, name, zone) for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"))]


def test_each_zone_has_a_lease_of_its_own(make_world):
    world = make_world(zones=True)
    conns = four(world)
    for conn in conns:
        world.want(conn, A)
    assert [world.plan(conn).lease for conn in conns] == ["granted", "held", "granted", "held"]
    assert [world.plan(conn).holder for conn in conns] == [nid(n) for n in ("a1", "a1", "b1", "b1")]
    assert world.plan(conns[0]).epoch != world.plan(conns[2]).epoch
    assert len(world.tracker.leases) == 2


def test_by_default_there_is_one(world):
    conns = four(world)
    for conn in conns:
        world.want(conn, A)
    assert [world.plan(conn).lease for conn in conns] == ["granted", "held", "held", "held"]


def test_a_whole_copy_in_another_zone_does_not_do(make_world):
    world = make_world(zones=True)
    a1, a2, b1, b2 = four(world)
    world.have(a1, A)
    world.want(a2, A)
    world.want(b1, A)
    assert world.plan(a2).lease == "none"
    assert world.plan(b1).lease == "granted"
    world.want(b2, A)
    world.have(b1, A)
    world.advance(0.2)
    assert world.plan(b2).lease == "none"
    world.say(b1, wire.Withdraw((A,)))
    world.advance(0.2)
    assert world.plan(b2).lease == "granted"


def test_one_that_is_out_of_reach_does_not_do_either(make_world):
    world = make_world(zones=True)
    a1, a2, _, _ = four(world)
    world.have(a1, A)
    world.want(a2, A, unreachable=(nid("a1"),))
    assert world.plan(a2).lease == "granted"


def test_a_lease_is_stolen_within_its_zone(make_world):
    world = make_world(zones=True)
    a1, a2, b1, b2 = four(world)
    for conn in (a1, a2, b1, b2):
        world.want(conn, A)
    mine = world.plan(b1).epoch
    world.advance(2.0)
    world.say(b1, wire.LeaseProgress(A, mine, 1000))
    world.advance(1.2)
    assert world.of(a1, wire.LeaseLost)
    assert world.plan(a2).lease == "granted"
    assert world.plan(b1).lease == "granted"
    assert not world.of(b1, wire.LeaseLost)
    world.leave(b1)
    assert world.plan(b2).lease == "granted"
    world.say(a2, wire.LeaseRelease(A, world.plan(a2).epoch, done=False))
    assert world.plan(b2).lease == "granted", "of no concern to the other zone"


def test_nodes_that_say_no_zone_are_one(make_world):
    world = make_world(zones=True)
    x, y, a1 = node(world, "x", ""), node(world, "y", ""), node(world, "a1", "a")
    for conn in (x, y, a1):
        world.want(conn, A)
    assert [world.plan(conn).lease for conn in (x, y, a1)] == ["granted", "held", "granted"]


def test_a_zones_name_is_checked(make_world):
    world = make_world(zones=True)
    for conn, zone in enumerate(("a b", "z" * 65, "ä", "a\n"), 50):
        world.do(Connected(conn, wire.NodeHello(PROTOCOL_VERSION, nid("a"), "a", "", 5001, zone), "h"))
        assert conn in world.closed


def test_nothing_is_left_behind(make_world):
    world = make_world(zones=True)
    conns = four(world)
    for conn in conns:
        world.want(conn, A)
    for conn in conns:
        world.have(conn, A)
    assert len(world.tracker.leases) == 0
    assert world.tracker.table.blobs[A].whole_in == {"a": 2, "b": 2}
    for conn in conns:
        world.leave(conn)
    world.advance(4000)
    assert not world.tracker.table.blobs
    assert world.tracker.next_deadline() is None
