from __future__ import annotations

import pytest

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION
from tracker.prefetch import JobCaps


def states(report):
    return {(row.name, row.image): row.state for row in report.rows}


def done(job, image, state="done", detail=""):
    return wire.IntentProgress(job, image, state, 10, (("peers", 10),), detail)


def report(world, client):
    return world.of(client, wire.JobReport)[-1]


def test_a_job_from_start_to_end(world):
    a, b, client = world.node("a"), world.node("b"), world.client()
    world.say(client, wire.PrefetchAsk(("x", "y", "x")))
    (intent,) = world.of(a, wire.Intent)
    assert intent.images == ("x", "y")
    assert world.of(b, wire.Intent) == [intent]
    assert set(states(report(world, client)).values()) == {"waiting"}
    for conn in (a, b):
        for image in ("x", "y"):
            assert not report(world, client).done
            world.say(conn, done(intent.job, image))
    last = report(world, client)
    assert last.done
    assert set(states(last).values()) == {"done"}
    assert last.rows[0].sources == (("peers", 10),)
    assert len(world.tracker.jobs) == 0
    world.say(a, done(intent.job, "x"))
    assert report(world, client) is last


def test_reports_come_about_once_a_second(world):
    a, client = world.node("a"), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    job = world.of(a, wire.Intent)[0].job
    for _ in range(50):
        world.say(a, done(job, "x", "pulling"))
        world.advance(0.1)
    assert 5 <= len(world.of(client, wire.JobReport)) <= 7
    count = len(world.of(client, wire.JobReport))
    world.advance(10)
    assert len(world.of(client, wire.JobReport)) <= count + 1, "nothing changed"


def test_names_globs_and_the_dead(world):
    world.node("web-1")
    dead = world.node("web-2")
    world.node("db-1")
    world.leave(dead)
    world.advance(300)
    client = world.client()
    world.say(client, wire.PrefetchAsk(("x",), ("web-*", "web-1", "web-9", "cache-*")))
    rows = {row.name: row for row in report(world, client).rows}
    assert {name: row.state for name, row in rows.items()} == {
        "web-1": "waiting",
        "web-2": "lost",
        "web-9": "unknown",
        "cache-*": "unknown",
    }
    assert rows["web-2"].detail == "disconnected 5 min ago"
    assert not report(world, client).done


def test_nobody_there(world):
    client = world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    assert report(world, client).done
    assert states(report(world, client)) == {("*", "x"): "unknown"}


def test_a_host_set_up_anew_is_named_once(world):
    old = world.node("a")
    world.leave(old)
    world.conns += 1
    hello = wire.NodeHello(PROTOCOL_VERSION, "e" * 32, "a", "", 5001)
    from tracker.events import Connected

    world.do(Connected(world.conns, hello, "10.0.0.2"))
    client = world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    assert [row.node for row in report(world, client).rows] == ["e" * 32]


def test_a_node_that_stays_away_is_lost(world):
    a, b, client = world.node("a"), world.node("b"), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    job = world.of(a, wire.Intent)[0].job
    world.say(b, done(job, "x"))
    world.leave(a)
    world.advance(9.9)
    assert states(report(world, client))["a", "x"] == "waiting"
    world.advance(0.2)
    assert report(world, client).done
    assert states(report(world, client)) == {("a", "x"): "lost", ("b", "x"): "done"}


def test_a_node_that_returns_is_asked_again(world):
    a, client = world.node("a"), world.client()
    world.say(client, wire.PrefetchAsk(("x", "y")))
    job = world.of(a, wire.Intent)[0].job
    world.say(a, done(job, "x"))
    world.leave(a)
    world.advance(8)
    back = world.node("a")
    assert world.of(back, wire.Intent) == [wire.Intent(job, ("x", "y"))]
    world.advance(20)
    assert states(report(world, client)) == {("a", "x"): "done", ("a", "y"): "waiting"}
    world.say(back, done(job, "y", "failed", "not found " * 100))
    assert report(world, client).done
    assert len(report(world, client).rows[1].detail) <= 160


def test_a_lost_node_that_worked_on_is_believed(world):
    a, b, client = world.node("a"), world.node("b"), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    job = world.of(b, wire.Intent)[0].job
    world.leave(a)
    world.advance(11)
    assert states(report(world, client))["a", "x"] == "lost"
    back = world.node("a")
    world.say(back, done(job, "x"))
    world.say(b, done(job, "x"))
    assert states(report(world, client)) == {("a", "x"): "done", ("b", "x"): "done"}


def test_cancel_stops_the_nodes(world):
    a, client, other = world.node("a"), world.client(), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    job = world.of(a, wire.Intent)[0].job
    world.say(other, wire.PrefetchCancel(job))
    assert not world.of(a, wire.IntentCancel)
    world.say(client, wire.PrefetchCancel(job))
    assert world.of(a, wire.IntentCancel) == [wire.IntentCancel(job)]
    last = report(world, client)
    assert last.done
    assert last.rows[0].detail == "canceled"
    world.say(client, wire.PrefetchCancel("nope"))
    assert client not in world.closed


def test_a_job_goes_on_without_its_command_but_not_for_ever(world):
    a, client = world.node("a"), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    world.leave(client)
    world.advance(3600)
    assert len(world.tracker.jobs) == 1
    world.advance(6 * 3600)
    assert len(world.tracker.jobs) == 0
    assert world.of(a, wire.IntentCancel)


@pytest.mark.parametrize(
    "ask",
    [
        wire.PrefetchAsk(()),
        wire.PrefetchAsk(("x",), ()),
        wire.PrefetchAsk(("",)),
        wire.PrefetchAsk(("x" * 1000,)),
        wire.PrefetchAsk(("x",), ("y" * 1000,)),
        wire.PrefetchAsk(("x",), ("*",) * 100),
        wire.PrefetchAsk(tuple(map(str, range(300)))),
    ],
)
def test_asks_that_are_refused(world, ask):
    client = world.client()
    world.say(client, ask)
    assert world.of(client, wire.Refused)
    assert client in world.closed


def test_caps(make_world):
    world = make_world(job_caps=JobCaps(jobs=1, rows=3))
    conns = [world.node(f"n{i}") for i in range(5)]
    client, other = world.client(), world.client()
    world.say(client, wire.PrefetchAsk(("x",)))
    assert [row.state for row in report(world, client).rows] == ["waiting"] * 3 + ["failed"] * 2
    assert not world.of(conns[4], wire.Intent)
    world.say(other, wire.PrefetchAsk(("x",)))
    assert other in world.closed
