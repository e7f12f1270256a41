from __future__ import annotations

from p2p.core.wire.common import Holding
from p2p.core.wire.tracker import Plan
from tracker.peer_table import PeerTable
from tracker.plan import PAUSE, PLAN_SIZE, SEEDERS, Pushes, choose, still_good

A = "sha256:" + "a" * 64
SIZE = 100 << 20


def swarm(whole, partial, wanters):
    table = PeerTable()
    for index in range(whole + partial):
        node = table.connect(f"{index:032x}", f"n{index}", "h", 5001, index, 0.0)
        table.announce(node, Holding(A, SIZE, 100 if index < whole else 7, complete=index < whole))
    wants = []
    for index in range(wanters):
        node = table.connect(f"{index + 10_000:032x}", f"w{index}", "h", 5001, 9000 + index, 0.0)
        wants.append(table.want(node, A, SIZE, lease=True, unreachable=frozenset()))
    return table, wants


def test_children_are_spread():
    table, wants = swarm(1, 99, 100)
    for wanting in wants:
        assert len(choose(table, wanting, None)) == PLAN_SIZE
    seeder, *others = table.nodes.values()
    assert seeder.children == 100, "the only one that has everything is in every plan"
    assert sum(node.children for node in others) == 100 * (PLAN_SIZE - 1)
    assert max(node.children for node in others) <= 2 * 100 * PLAN_SIZE / len(others)


def test_wanters_are_providers_while_there_are_few_others():
    table, wants = swarm(0, 1, 60)
    assert len(choose(table, wants[0], None)) == 1, "at first only who has something"
    for wanting in wants:
        wanting.plan = Plan(A, SIZE, (), "held", 1, "", 3.0)
    plans = [choose(table, wanting, None) for wanting in wants]
    assert all(len(plan) == PLAN_SIZE for plan in plans)
    assert not any(
        wanting.node.id in [one.node for one in plan] for wanting, plan in zip(wants, plans, strict=True)
    )
    children = [node.children for node in table.nodes.values()]
    assert min(children) > PLAN_SIZE / 2
    assert max(children) < 2 * PLAN_SIZE
    assert still_good(wants[0])
    gone = next(wanting for wanting in wants if wanting.node.id in wants[0].providers)
    table.unwant(gone.node, A)
    assert not still_good(wants[0])


def test_few_providers_are_all_named_and_many_keep_seeders():
    table, (wanting,) = swarm(2, 3, 1)
    assert len(choose(table, wanting, None)) == 5
    assert wanting.node.id in wanting.blob.hungry
    table, (wanting,) = swarm(100, 300, 1)
    for node in table.nodes.values():
        node.children = 50 if node.complete else 0
    plan = choose(table, wanting, None)
    assert sum(one.complete for one in plan) == SEEDERS
    assert not wanting.blob.hungry


def test_the_lease_holder_is_always_named():
    table, (wanting,) = swarm(40, 100, 1)
    holder = table.connect("f" * 32, "holder", "h", 5001, 77, 0.0)
    holder.children = 1000
    plan = choose(table, wanting, holder)
    assert len(plan) == PLAN_SIZE
    assert "f" * 32 in [one.node for one in plan]
    wanting.unreachable = frozenset({"f" * 32})
    assert "f" * 32 not in [one.node for one in choose(table, wanting, holder)]


def test_the_same_state_gives_the_same_plan():
    first, second = ([choose(t, w, None) for w in ws] for t, ws in (swarm(5, 60, 9), swarm(5, 60, 9)))
    assert first == second


def test_a_plan_repeated_stays():
    table, (wanting,) = swarm(5, 10, 1)
    once = choose(table, wanting, None)
    assert choose(table, wanting, None) == once
    assert sum(node.children for node in table.nodes.values()) == 5 + 10 == len(once)


def test_pushes_pause_and_forget():
    _, wants = swarm(1, 1, 3)
    pushes = Pushes()
    a, b, c = wants
    for wanting in wants:
        pushes.schedule(wanting, 5.0)
    pushes.schedule(a, 1.0)
    pushes.schedule(a, 2.0)
    assert pushes.next_deadline() == 1.0
    assert pushes.take(1.0, 10) == [a]
    pushes.schedule(a, 1.0)
    assert pushes.next_deadline() == 1.0 + PAUSE
    b.alive = False
    assert pushes.take(9.0, 1) == [c]
    assert pushes.take(9.0, 9) == [a]
    assert pushes.next_deadline() is None


def test_of_plans_that_are_due_the_oldest_goes_first():
    """More providers are good to have; a plan that expires leaves its node with none."""
    _, (old, young, first) = swarm(1, 1, 3)
    pushes = Pushes()
    old.pushed, young.pushed = 0.0, 0.9
    pushes.schedule(young, 1.9)
    pushes.schedule(old, 2.0)
    assert pushes.next_deadline() == 1.9
    assert pushes.take(2.5, 1) == [old]
    pushes.schedule(first, 2.5)
    assert pushes.next_deadline() == 1.9, "one that is due waits still"
    assert pushes.take(2.5, 1) == [first], "who has no plan yet goes before all"
    young.alive = False
    assert pushes.next_deadline() is None
    assert pushes.take(9.0, 1) == []


def test_a_full_plan_is_good_while_all_hold():
    table, (wanting,) = swarm(5, 60, 1)
    assert not still_good(wanting)
    choose(table, wanting, None)
    assert still_good(wanting)
    table.withdraw(table.nodes[wanting.providers[3]], A)
    assert not still_good(wanting)
