from __future__ import annotations

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import Holding
from tracker.core import PLANS_A_MESSAGE
from tracker.plan import REPEATS
from tracker.planner import FEW, TOP_UP

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
C = "sha256:" + "c" * 64


def holders(world, count, *digests, start=0):
    conns = [world.node(f"n{start + i}", 5001 + i) for i in range(count)]
    for conn in conns:
        world.say(conn, wire.Announce(tuple(Holding(digest, 10 << 20, 3, False) for digest in digests)))
    return conns


def test_full_plans_of_a_node_stand_in_one_message(world):
    holders(world, 50, A, B, C)
    a = world.node("a")
    for digest in (A, B):
        world.want(a, digest)
    world.advance(0.5)
    world.want(a, C)
    plans = len(world.of(a, wire.Plan))
    world.advance(1.6)
    (stand,) = world.of(a, wire.PlansStand)
    assert set(stand.digests) == {A, B, C}, "also the one that is due half a second later"
    assert len(world.of(a, wire.Plan)) == plans
    assert world.tracker.counters.renewals == 3
    world.advance(2.1)
    assert len(world.of(a, wire.PlansStand)) == 2


def test_a_whole_copy_is_no_reason_to_make_full_plans_anew(world):
    """A crowd would hear of it at once, for each of its wants: thousands of plans in a moment."""
    conns = holders(world, 50, A)
    a = world.node("a")
    world.want(a, A)
    assert world.plan(a).lease == "granted"
    b = world.node("b")
    world.want(b, A)
    assert world.plan(b).lease == "held"
    first = world.plan(b)
    world.say(conns[0], wire.Announce((Holding(A, 10 << 20, 10, True),)))
    world.say(a, wire.Announce((Holding(A, 10 << 20, 10, True),)))
    world.advance(2.1)
    assert world.plan(b) is first
    assert world.of(b, wire.PlansStand)
    world.advance(2.0 * REPEATS + 0.1)
    assert world.plan(b).lease == "none", "with the next one that is drawn"


def test_a_plan_that_does_not_stand_is_made_anew(world):
    conns = holders(world, 50, A)
    a = world.node("a")
    world.want(a, A)
    first = world.plan(a)
    world.leave(next(c for c in conns if f"n{c - 1}" in {one.name for one in first.providers}))
    world.advance(2.1)
    assert not world.of(a, wire.PlansStand)
    assert world.plan(a) is not first


def test_the_first_plan_of_a_want_waits_for_no_refresh(world):
    """However many plans are late: who asks is answered in the same call."""
    conns = holders(world, 300, B)
    for conn in conns:
        world.want(conn, A)
    world.now += 100.0  # a tracker that had no time for anything
    late = world.node("late")
    before = sum(len(world.of(conn, wire.Plan)) for conn in conns)
    world.want(late, A)
    assert world.of(late, wire.Plan)
    assert sum(len(world.of(conn, wire.Plan)) for conn in conns) - before < 2 * PLANS_A_MESSAGE


def test_many_changes_are_one_look_at_the_plans_they_may_improve(world):
    a = world.node("a")
    world.want(a, A)
    before = len(world.of(a, wire.Plan))
    holders(world, FEW + 1, A)
    world.advance(0.11)
    assert len(world.of(a, wire.Plan)) == before + 1
    assert len(world.plan(a).providers) == FEW + 1
    holders(world, 20, A, start=100)
    world.advance(0.5)
    assert len(world.of(a, wire.Plan)) == before + 1, "it has enough to begin with"
    world.advance(TOP_UP)
    assert len(world.plan(a).providers) == 30 - 1 or len(world.plan(a).providers) == FEW + 21
