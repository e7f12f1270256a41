from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracker.places import Places, Ring


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9))), st.integers(0, (1 << 32) - 1), st.integers(0, 12)
)
def test_a_ring_is_a_set_with_windows(steps, point, count):
    ring, model = Ring(), set()
    for add, number in steps:
        item = str(number)
        if add:
            assert ring.add(item) == (item not in model)
            model.add(item)
        else:
            assert ring.discard(item) == (item in model)
            model.discard(item)
    assert sorted(ring) == sorted(model)
    window = list(ring.window(point, count))
    assert len(window) == len(set(window)) == min(count, len(model))
    assert set(window) <= model
    assert all(item in ring for item in model)


def test_a_place_is_there_while_somebody_holds_or_wants():
    places = Places()
    places.wants(("a", "a/r1"), "one")
    places.holds(("a",), "two", complete=False)
    places.holds(("b",), "three", complete=True)
    assert places.zones() == ["a", "b"]
    assert list(places.find("a/r1").waiting) == ["one"]
    assert list(places.find("a").partial) == ["two"]
    places.holds(("a",), "two", complete=True)
    assert (len(places.find("a").partial), list(places.find("a").complete)) == (0, ["two"])
    places.unwants(("a", "a/r1"), "one")
    assert places.find("a/r1") is None
    places.lacks(("a",), "two")
    places.lacks(("b",), "three")
    assert places.zones() == []


def test_a_node_without_a_zone_is_in_none():
    places = Places()
    places.wants((), "one")
    places.holds((), "one", complete=True)
    places.lacks((), "one")
    places.unwants((), "one")
    assert places.zones() == []
