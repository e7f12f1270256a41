from __future__ import annotations

from p2p.core.wire.common import Holding
from tracker.peer_table import REMEMBER, Caps, PeerTable

A = "sha256:" + "a" * 64


def table_with(*names, caps=None):
    table = PeerTable(caps)
    return table, [table.connect(name, name, "h", 5001, conn, 0.0) for conn, name in enumerate(names)]


def test_the_size_is_what_most_claim():
    table, (a, b, c) = table_with("a", "b", "c")
    table.announce(a, Holding(A, 100, 1, True))
    blob = table.blobs[A]
    assert blob.size == 100
    table.announce(b, Holding(A, 200, 1, True))
    assert blob.size == 100
    table.announce(c, Holding(A, 200, 1, True))
    assert blob.size == 200
    table.announce(c, Holding(A, 100, 1, True))
    assert blob.size == 100
    for node in (a, b, c):
        table.withdraw(node, A)
    assert A not in table.blobs
    assert blob.sizes == {}


def test_only_changes_of_providers_are_reported():
    table, (a,) = table_with("a")
    assert table.announce(a, Holding(A, 5 << 20, 1, False)) is not None
    assert table.announce(a, Holding(A, 5 << 20, 2, False)) is None
    assert a.chunks(A) == 2
    assert table.announce(a, Holding(A, 5 << 20, 5, True)) is not None
    assert (a.complete, list(table.blobs[A].complete), list(table.blobs[A].partial)) == (1, ["a"], [])
    assert table.announce(a, Holding(A, 5 << 20, 0, False)) is not None
    assert table.announce(a, Holding(A, 5 << 20, 0, False)) is None
    assert a.complete == 0


def test_nodes_are_remembered_for_an_hour():
    table, (a, b) = table_with("a", "b")
    table.disconnect(a, 10.0)
    table.disconnect(b, 20.0)
    assert table.next_deadline() == 10.0 + REMEMBER
    table.expire(10.0 + REMEMBER)
    assert list(table.nodes) == ["b"]
    table.connect("b", "b", "h", 5001, 9, 30.0)
    assert table.next_deadline() is None
    table.expire(1e9)
    assert list(table.nodes) == ["b"]


def test_a_full_table_forgets_the_longest_gone():
    table, (a, b) = table_with("a", "b", caps=Caps(nodes=2))
    assert table.connect("c", "c", "h", 1, 5, 0.0) is None
    table.disconnect(b, 1.0)
    table.disconnect(a, 2.0)
    assert table.connect("c", "c", "h", 1, 5, 3.0) is not None
    assert list(table.nodes) == ["a", "c"]


def test_children_survive_a_reconnect():
    table, (a, b) = table_with("a", "b")
    wanting = table.want(b, A, 0, lease=False, unreachable=frozenset())
    table.assign(wanting, ("a",))
    table.disconnect(a, 1.0)
    a = table.connect("a", "a", "h", 1, 7, 2.0)
    assert a.children == 1
    table.unwant(b, A)
    assert a.children == 0
    assert A not in table.blobs


def test_whole_for_leaves_out_oneself_and_the_unreachable():
    table, (a, b, c) = table_with("a", "b", "c")
    for node in (a, b):
        table.announce(node, Holding(A, 1, 1, True))
    mine = table.want(a, A, 0, lease=True, unreachable=frozenset({"b"}))
    other = table.want(c, A, 0, lease=True, unreachable=frozenset({"b"}))
    assert not mine.blob.whole_for(mine)
    assert other.blob.whole_for(other)
