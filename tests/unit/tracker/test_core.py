from __future__ import annotations

import pytest

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from tracker.events import Connected, Received
from tracker.peer_table import Caps

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64


def nid(name):
    return name.encode().hex().ljust(32, "0")[:32]


def test_the_first_wanter_gets_the_lease_and_the_others_its_name(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    assert world.plan(a).lease == "granted"
    assert world.plan(a).size == 10 << 20
    assert world.plan(b).lease == "held"
    assert world.plan(b).holder == nid("a")
    # The holder has nothing yet and is named all the same: peers download behind it.
    assert [one.node for one in world.plan(b).providers] == [nid("a")]
    assert world.plan(b).providers[0].host == "10.0.0.1"


def test_a_complete_provider_makes_a_lease_needless(world):
    a, b = world.node("a"), world.node("b")
    world.have(a, A)
    world.want(b, A)
    assert world.plan(b).lease == "none"
    assert world.plan(b).providers[0].complete


def test_an_unreachable_provider_does_not_count(world):
    a, b = world.node("a"), world.node("b")
    world.have(a, A)
    world.want(b, A, unreachable=(nid("a"),))
    assert world.plan(b).lease == "granted"
    assert world.plan(b).providers == ()


def test_who_got_nothing_from_those_who_have_it_all_streams_for_the_others(world):
    """A node that names them unreachable has the lease; the others hear of it, though they named nobody."""
    a, b, c = world.node("a"), world.node("b"), world.node("c")
    world.have(a, A)
    world.want(b, A)
    world.want(c, A)
    assert {world.plan(one).lease for one in (b, c)} == {"none"}
    world.want(b, A, unreachable=(nid("a"),))
    assert world.plan(b).lease == "granted"
    world.advance(1.0)
    plan = world.plan(c)
    assert (plan.lease, plan.holder) == ("held", nid("b"))
    assert nid("b") in [one.node for one in plan.providers]


def test_a_lease_without_progress_is_stolen_by_who_has_most(world):
    a, b, c = world.node("a"), world.node("b"), world.node("c")
    world.want(a, A)
    epoch = world.plan(a).epoch
    world.want(b, A)
    world.want(c, A)
    world.have(c, A, 4)
    world.advance(2.9)
    assert world.plan(b).holder == nid("a")
    world.advance(0.3)
    assert world.of(a, wire.LeaseLost) == [wire.LeaseLost(A, epoch)]
    assert world.plan(c).lease == "granted"
    assert world.plan(c).epoch > epoch
    assert world.plan(b).holder == nid("c")


def test_progress_keeps_a_lease_and_repeating_oneself_does_not(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    epoch = world.plan(a).epoch
    world.want(b, A)
    for step in range(1, 5):
        world.advance(2.5)
        world.say(a, wire.LeaseProgress(A, epoch, step * 1000))
    assert not world.of(a, wire.LeaseLost)
    world.advance(2.5)
    world.say(a, wire.LeaseProgress(A, epoch, 4000))
    world.advance(0.6)
    assert world.of(a, wire.LeaseLost)
    world.say(a, wire.LeaseProgress(A, epoch, 9000))
    assert len(world.of(a, wire.LeaseLost)) == 2


def test_a_slow_origin_does_not_send_the_lease_round(world):
    """Nobody gets a byte within 3 s: the patience grows until somebody does."""
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.advance(40.0)
    assert world.tracker.counters.leases_stolen <= 4


def test_a_holder_that_leaves_is_replaced_at_once(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.leave(a)
    assert world.plan(b).lease == "granted"


def test_failure_hands_the_lease_on_and_the_failed_waits(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.say(a, wire.LeaseRelease(A, world.plan(a).epoch, done=False))
    assert world.plan(b).lease == "granted"
    world.say(b, wire.LeaseRelease(A, world.plan(b).epoch, done=False))
    world.advance(1.5)
    assert "granted" not in (world.plan(a).lease, world.plan(b).lease)
    world.advance(1.0)
    assert world.plan(a).lease == "granted"


def test_alone_a_failed_node_tries_again_sooner(world):
    a = world.node("a")
    world.want(a, A)
    first = world.plan(a).epoch
    world.say(a, wire.LeaseRelease(A, first, done=False))
    assert world.plan(a).epoch == first
    world.advance(0.5)
    assert world.plan(a).lease == "granted"
    assert world.plan(a).epoch > first


def test_done_is_believed_until_the_blob_is_announced(world):
    """The holder syncs its disk between the two: nobody is to start a second stream meanwhile."""
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.have(a, A, 9)
    world.say(a, wire.LeaseRelease(A, world.plan(a).epoch, done=True))
    world.say(a, wire.Unwant(A))
    world.advance(5.0)
    assert world.plan(b).lease == "held"
    world.have(a, A)
    world.advance(0.2)
    assert world.plan(b).lease == "none"
    assert world.plan(b).providers[0].complete


def test_done_and_gone_is_not_waited_for(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.say(a, wire.LeaseRelease(A, world.plan(a).epoch, done=True))
    world.leave(a)
    assert world.plan(b).lease == "granted"


def test_plans_are_pushed_when_somebody_has_it_and_coalesced(world):
    a = world.node("a")
    world.want(a, A, lease=False)
    before = len(world.of(a, wire.Plan))
    for index in range(20):
        world.have(world.node(f"n{index}"), A, 3)
    assert len(world.of(a, wire.Plan)) == before
    world.advance(0.11)
    assert len(world.of(a, wire.Plan)) == before + 1
    assert len(world.plan(a).providers) == 20


def test_plans_are_refreshed_before_they_expire(world):
    a = world.node("a")
    world.want(a, A)
    world.advance(2.9)
    assert len(world.of(a, wire.Plan)) == 2
    world.say(a, wire.Unwant(A))
    world.advance(10)
    assert len(world.of(a, wire.Plan)) == 2


def test_a_complete_announcement_ends_the_want(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.have(a, A)
    world.advance(0.2)
    assert world.plan(b).lease == "none"
    count = len(world.of(a, wire.Plan))
    world.advance(10)
    assert len(world.of(a, wire.Plan)) == count


def test_a_withdrawn_last_copy_gives_a_lease(world):
    a, b = world.node("a"), world.node("b")
    world.have(a, A)
    world.want(b, A)
    world.say(a, wire.Withdraw((A,)))
    assert world.plan(b).lease == "granted"


def test_a_new_tracker_waits_for_whoever_streams_already(make_world):
    world = make_world(start=0.0)
    a, b = world.node("a"), world.node("b")
    world.have(b, A, 4)
    world.want(b, A)
    assert world.plan(b).lease == "held"
    world.say(a, wire.LeaseProgress(A, 1 << 60, 5000))
    assert world.tracker.counters.leases_adopted == 0, "no clock gives such an epoch"


def test_a_new_tracker_adopts_an_older_lease(make_world):
    world = make_world(start=0.0, first_epoch=1000)
    a, b = world.node("a"), world.node("b")
    world.have(b, A, 4)
    world.want(b, A)
    world.say(a, wire.LeaseProgress(A, 77, 5000))
    world.want(a, A)
    world.advance(0.2)
    assert (world.plan(a).lease, world.plan(a).epoch) == ("granted", 77)
    assert world.plan(b).holder == nid("a")
    assert world.tracker.counters.leases_granted == 0


def test_without_such_a_one_the_lease_is_given_when_settled(make_world):
    world = make_world(start=0.0)
    b = world.node("b")
    world.have(b, A, 4)
    world.want(b, A)
    world.advance(3.1)
    assert world.plan(b).lease == "granted"


def test_the_newer_of_two_connections_of_a_node_wins(world):
    old = world.node("a")
    world.have(old, A)
    new = world.node("a")
    assert old in world.closed
    assert new not in world.closed
    world.leave(old)
    assert world.tracker.table.nodes[nid("a")].conn == new
    assert not world.tracker.table.blobs


@pytest.mark.parametrize(
    "message",
    [
        wire.Announce((Holding("sha256:xyz", 1, 1, True),)),
        wire.Announce((Holding(A, 1, 2, True),)),
        wire.Announce((Holding(A, -1, 0, False),)),
        wire.Want("latest", 0, True),
        wire.Want(A, 1 << 60, True),
        wire.Want(A, 0, True, tuple(str(i) for i in range(2000))),
        wire.PrefetchAsk(("x",)),
        wire.NodeHello(PROTOCOL_VERSION, nid("a"), "a", "", 5001),
        wire.IntentProgress("job", "image", "sleeping", 0, ()),
        wire.ReferenceSeen("r", "t", A, "m", 1, float("nan")),
    ],
)
def test_garbage_is_refused_and_forgotten(world, message):
    a = world.node("a")
    if isinstance(message, wire.NodeHello):
        world.do(Connected(a, message, ""))
    else:
        world.say(a, message)
    assert world.of(a, wire.Refused)
    assert a in world.closed
    assert world.tracker.table.nodes[nid("a")].conn is None


def test_hellos_that_do_not_fit_are_refused(world):
    for conn, hello in enumerate(
        (
            wire.NodeHello(PROTOCOL_VERSION + 1, nid("a"), "a", "", 5001),
            wire.ClientHello(0),
            wire.NodeHello(PROTOCOL_VERSION, "UPPER", "a", "", 5001),
            wire.NodeHello(PROTOCOL_VERSION, nid("a"), "a\n", "", 5001),
            wire.NodeHello(PROTOCOL_VERSION, nid("a"), "a", "http://x/", 5001),
            wire.NodeHello(PROTOCOL_VERSION, nid("a"), "a", "", 0),
        ),
        start=100,
    ):
        world.do(Connected(conn, hello, "10.0.0.1"))
        assert world.of(conn, wire.Refused), hello
        assert conn in world.closed
    world.do(Received(999, wire.ListNodes()))
    assert 999 in world.closed
    assert not world.tracker.table.nodes


def test_caps(make_world):
    world = make_world(caps=Caps(nodes=2, holdings=1, wants=1))
    a, b, c = world.node("a"), world.node("b"), world.node("c")
    assert c in world.closed
    world.have(a, A)
    world.have(a, B)
    assert world.tracker.table.dropped == 1
    world.want(b, A)
    world.want(b, B)
    assert b in world.closed
    assert world.node("d") not in world.closed, "the one that is gone longest makes room"


def test_tags_are_answered_with_their_age(world):
    a, b = world.node("a"), world.node("b")
    world.say(a, wire.ReferenceSeen("hub/app", "1", A, "type", 7, 2.0))
    world.advance(3.0)
    world.say(b, wire.AskReference(5, "hub/app", "1"))
    world.say(b, wire.AskReference(6, "hub/app", "2"))
    assert world.of(b, wire.ReferenceAnswer) == [
        wire.ReferenceAnswer(5, A, "type", 7, 5.0),
        wire.ReferenceAnswer(6),
    ]


def test_the_node_table(world):
    a, client = world.node("a"), world.client()
    world.have(a, A)
    world.have(a, B, 2)
    world.leave(a)
    world.advance(4)
    world.say(client, wire.ListNodes())
    (row,) = world.of(client, wire.NodeTable)[0].rows
    assert (row.name, row.connected, row.seen, row.complete) == ("a", False, 4.0, 0)
    world.advance(3600)
    assert not world.tracker.table.nodes
    assert world.tracker.next_deadline() is None


def test_many_due_plans_are_spread_over_calls(world):
    conns = [world.node(f"n{i}", 5001 + i) for i in range(400)]
    for conn in conns:
        world.want(conn, A)
    world.advance(0.2)
    assert all(world.of(conn, wire.Plan) for conn in conns)


def test_full_plans_are_repeated_and_drawn_anew_when_a_provider_leaves(world):
    conns = [world.node(f"n{i}", 5001 + i) for i in range(50)]
    for conn in conns:
        world.have(conn, A, 5)
    a = world.node("a")
    world.want(a, A)
    first = world.plan(a)
    world.advance(2.0)
    assert world.plan(a) is first
    gone = first.providers[0].node
    world.leave(next(conn for conn in conns if nid(f"n{conn - 1}") == gone))
    world.advance(2.0)
    assert len(world.plan(a).providers) == 30
    assert gone not in [one.node for one in world.plan(a).providers]
    world.advance(30.0)
    assert world.of(a, wire.Plan).count(world.plan(a)) <= 16


def progress(epoch, offset, rank):
    return wire.LeaseProgress(A, epoch, offset, rank)


def test_a_lease_of_another_tracker_is_known_before_anybody_asks_here(world):
    a, b = world.node("a"), world.node("b")
    world.say(a, progress(5000, 0, 0))
    assert world.tracker.leases.find(A).holder == nid("a")
    world.say(a, progress(5000, 900, 0))
    world.want(b, A)
    assert (world.plan(b).lease, world.plan(b).holder) == ("held", nid("a"))
    world.want(a, A)
    assert (world.plan(a).lease, world.plan(a).epoch) == ("granted", 5000), "the other one is gone"
    world.advance(3.1)
    assert world.plan(b).lease == "granted"
    assert world.plan(b).epoch > 5000, "epochs are never given twice"
    assert world.of(a, wire.LeaseLost) == [wire.LeaseLost(A, 5000)]


def test_of_two_leases_the_first_trackers_prevails(world):
    """The second one granted while the first was away for some: its holder hears of it at once."""
    a, b = world.node("a"), world.node("b")
    world.say(b, wire.Want(A, 10 << 20, True, (), 1))
    mine = world.plan(b).epoch
    world.say(a, progress(7, 0, 0))
    assert world.of(b, wire.LeaseLost) == [wire.LeaseLost(A, mine)]
    world.advance(0.2)
    assert (world.plan(b).lease, world.plan(b).holder) == ("held", nid("a"))
    assert not world.of(a, wire.LeaseLost)


def test_the_first_tracker_keeps_its_own_lease_against_the_second_ones(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.say(b, progress(1 << 20, 0, 1))
    assert world.of(b, wire.LeaseLost) == [wire.LeaseLost(A, 1 << 20)]
    assert world.tracker.leases.find(A).holder == nid("a")


def test_a_lease_stolen_at_the_first_tracker_is_followed_by_the_second(world):
    a, b = world.node("a"), world.node("b")
    world.say(a, progress(7, 0, 0))
    world.say(b, progress(8, 0, 0))
    assert world.tracker.leases.find(A).holder == nid("b")
    assert world.of(a, wire.LeaseLost) == [wire.LeaseLost(A, 7)]
    world.say(a, progress(7, 10, 0))
    assert world.tracker.leases.find(A).holder == nid("b")


def test_what_another_tracker_granted_is_forgotten_when_nobody_speaks_of_it(world):
    a = world.node("a")
    world.say(a, progress(7, 0, 0))
    world.advance(2.0)
    world.say(a, progress(7, 10, 0))
    world.advance(2.9)
    assert world.tracker.leases.find(A) is not None
    world.advance(0.2)
    assert world.tracker.leases.find(A) is None
    assert world.tracker.next_deadline() is None
    world.say(a, progress(9, 0, 0))
    world.have(a, A)
    assert world.tracker.leases.find(A) is None, "it has it all"


def test_a_want_that_moves_to_another_tracker_leaves_the_lease(world):
    a, b = world.node("a"), world.node("b")
    world.want(a, A)
    world.want(b, A)
    world.say(a, wire.Unwant(A, keep=True))
    world.advance(0.2)
    assert (world.plan(b).lease, world.plan(b).holder) == ("held", nid("a"))
    world.say(a, wire.Unwant(A))
    assert world.plan(b).lease == "granted"
