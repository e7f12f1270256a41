from __future__ import annotations

from p2p.core.wire import tracker as wire
from tracker import dashboard

A = "sha256:" + "a" * 64


def test_an_empty_tracker(world):
    page = dashboard.render(world.tracker, 0.0)
    assert "0 of 0 nodes connected" in page
    assert page.count("<p>none</p>") == 4


def test_everything_is_shown_and_escaped(world):
    evil = world.node("<script>alert(1)</script>")
    world.want(evil, A)
    world.say(evil, wire.LeaseProgress(A, world.plan(evil).epoch, 4096))
    world.leave(world.node("gone"))
    client = world.client()
    world.say(client, wire.PrefetchAsk(("<img src=x>",)))
    page = dashboard.render(world.tracker, 2.0)
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;img src=x&gt;" in page
    for text in (A, "4096", "gone for 2 s", "1 of 2 nodes connected"):
        assert text in page


def test_long_tables_are_cut(world, monkeypatch):
    monkeypatch.setattr(dashboard, "ROWS", 2)
    for index in range(5):
        world.node(f"n{index}")
    page = dashboard.render(world.tracker, 0.0)
    assert "and 3 more" in page
    assert "n4" not in page
