"""Zones: a copy of a blob comes into each once, through one node; or each reads its origin by itself."""

from __future__ import annotations

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION
from tracker.events import Connected
from tracker.zones import PATIENCE, RENEWED

A = "sha256:" + "a" * 64


def nid(name):
    return name.encode().hex().ljust(32, "0")[:32]


def node(world, name, zone, rack=""):
    world.conns += 1
    hello = wire.NodeHello(PROTOCOL_VERSION, nid(name), name, "", 5001, zone, rack)
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
    places = world.tracker.table.blobs[A].places
    assert [len(places.find(zone).complete) for zone in places.zones()] == [2, 2]
    for conn in conns:
        world.leave(conn)
    world.advance(4000)
    assert not world.tracker.table.blobs
    assert world.tracker.next_deadline() is None


def named(world, conn):
    return {one.name for one in world.plan(conn).providers}


def crossing(world, conns):
    """Give the connections whose plans name a provider of another zone."""
    zones = {one.name: one.zone for one in world.tracker.table.nodes.values()}
    by_conn = {one.conn: one.name for one in world.tracker.table.nodes.values()}
    return [
        conn for conn in conns if any(one.zone != zones[by_conn[conn]] for one in world.plan(conn).providers)
    ]


def test_one_node_of_a_zone_gets_providers_of_another_one(make_world):
    world = make_world()
    conns = four(world)
    for conn in conns:
        world.want(conn, A)
    a1, a2, b1, b2 = conns
    world.have(a1, A, 3)
    world.advance(2)
    assert world.plan(a1).lease == "granted"
    assert crossing(world, conns) == [b1]
    assert named(world, b1) == {"a1", "a2", "b2"}
    assert named(world, b2) == {"b1"}, "and the others get it from there"
    assert named(world, a2) == {"a1"}
    assert world.plan(b2).lease == "held"


def test_the_entry_ends_with_a_whole_copy_in_the_zone(make_world):
    world = make_world()
    a1, _, b1, b2 = conns = four(world)
    world.have(a1, A)
    world.want(b1, A)
    world.want(b2, A)
    world.advance(1)
    assert crossing(world, conns[2:]) == [b1]
    assert world.plan(b2).lease == "held", "a whole copy over there is none here"
    world.have(b1, A)
    world.advance(1)
    assert crossing(world, [b2]) == []
    assert world.plan(b2).lease == "none"
    assert len(world.tracker.entries) == 0


def test_an_entry_without_progress_is_taken_over_and_one_with_progress_is_not(make_world):
    world = make_world()
    a1, _, b1, b2 = four(world)
    world.have(a1, A)
    world.want(b1, A)
    world.want(b2, A)
    for chunks in range(1, 4):
        world.advance(PATIENCE - 1)
        world.have(b1, A, chunks)
    world.have(b2, A, 1)
    assert crossing(world, [b1, b2]) == [b1]
    world.advance(PATIENCE + 1)
    assert crossing(world, [b1, b2]) == [b2]
    assert named(world, b1) == {"b2"}, "whoever lost it is told at once"


def test_an_entry_goes_on_when_its_holder_is_gone_with_the_one_that_has_most(make_world):
    world = make_world()
    a1, _, b1, b2 = four(world)
    b3 = node(world, "b3", "b")
    world.have(a1, A)
    for conn in (b1, b2, b3):
        world.want(conn, A)
    world.have(b3, A, 2)
    world.leave(b1)
    world.advance(1)
    assert crossing(world, [b2, b3]) == [b3]
    world.say(b3, wire.Unwant(A))
    world.advance(1)
    assert crossing(world, [b2]) == [b2]


def test_what_crossed_is_counted_and_bounded(make_world):
    world = make_world(zone_copies=1.5)
    a1 = node(world, "a1", "a")
    world.have(a1, A)
    conns = [node(world, f"b{number}", "b") for number in range(4)]
    for conn in conns:
        world.want(conn, A)
    for _ in range(2):
        world.advance(0.5)
        (conn,) = crossing(world, conns)
        world.have(conn, A, 8)  # eight of ten chunks, and it dies with them
        world.leave(conn)
        conns.remove(conn)
    world.advance(1)
    assert crossing(world, conns) == [], "one and a half copies have crossed"
    world.advance(RENEWED)
    assert len(crossing(world, conns)) == 1


def test_a_zone_that_had_the_whole_blob_begins_anew(make_world):
    world = make_world(zone_copies=1)
    a1, _, b1, b2 = four(world)
    world.have(a1, A)
    world.want(b1, A)
    world.have(b1, A, 9)
    world.have(b1, A)
    world.say(b1, wire.Withdraw((A,)))
    world.want(b2, A)
    world.advance(1)
    assert crossing(world, [b2]) == [b2]


def test_the_zone_that_reads_the_origin_needs_no_entry(make_world):
    world = make_world()
    a1, a2, b1, b2 = four(world)
    world.want(a1, A)
    world.want(b1, A)
    assert world.tracker.entries.holder(A, "b") == nid("b1")
    world.leave(a1)
    assert world.plan(b1).lease == "granted"
    world.want(a2, A)
    world.want(b2, A)
    world.advance(1)
    assert (world.tracker.entries.holder(A, "a"), world.tracker.entries.holder(A, "b")) == (nid("a2"), "")
    assert crossing(world, [a2, b2]) == [a2]


def test_zones_that_read_the_origin_themselves_cross_where_it_fails(make_world):
    world = make_world(zones=True)
    a1, _, b1, b2 = four(world)
    world.have(a1, A)
    world.want(b1, A)
    world.want(b2, A)
    assert crossing(world, [b1, b2]) == []
    for conn in (b1, b2):
        assert world.plan(conn).lease == "granted"
        world.say(conn, wire.LeaseRelease(A, world.plan(conn).epoch, done=False))
        world.want(conn, A, lease=False)
    world.advance(1)
    assert len(crossing(world, [b1, b2])) == 1


def test_after_a_start_the_zones_own_partial_copies_are_waited_for(make_world):
    world = make_world(start=0.0)
    a1, _, b1, b2 = four(world)
    world.have(a1, A)
    world.have(b2, A, 4)
    world.want(b1, A)
    world.advance(1)
    assert crossing(world, [b1]) == []
    world.want(b2, A)
    world.advance(3)
    assert crossing(world, [b1, b2]) == [b2]


def test_without_budgets_or_with_one_zone_all_is_as_ever(make_world):
    world = make_world(zone_copies=0)
    a1, _, b1, b2 = four(world)
    world.have(a1, A)
    world.want(b1, A)
    world.want(b2, A)
    world.advance(1)
    assert crossing(world, [b1, b2]) == [b1, b2]
    assert world.plan(b2).lease == "none"
    world = make_world()
    a1, nowhere = node(world, "a1", "a"), node(world, "n", "")
    world.have(a1, A)
    world.want(nowhere, A)
    assert named(world, nowhere) == {"a1"}, "who names no zone is bound by none"


def test_a_node_that_cannot_reach_the_copy_in_its_zone_is_let_through(make_world):
    world = make_world()
    a1, a2, b1, b2 = four(world)
    world.have(a1, A)
    world.have(b1, A)
    world.want(b2, A)
    assert crossing(world, [b2]) == []
    world.want(b2, A, unreachable=(nid("b1"),))
    world.advance(1)
    assert crossing(world, [b2]) == [b2]
    del a2


def test_peers_of_the_rack_come_first_and_not_alone(make_world):
    world = make_world()
    for number in range(60):
        world.have(node(world, f"n{number:02}", "a", f"r{number % 3}"), A)
    wanting = node(world, "me", "a", "r1")
    world.want(wanting, A)
    racks = [int(one.name[1:]) % 3 for one in world.plan(wanting).providers]
    assert len(racks) == 30
    assert racks[:15] == [1] * 15
    assert {0, 2} <= set(racks[15:])
