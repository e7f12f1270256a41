"""What the clients want, and when nobody wants anything any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import iter_bits
from p2p.core.swarm.chunks import MIB, Layout
from p2p.core.swarm.picker import URGENT, WINDOW
from p2p.core.swarm.readers import Readers

COUNT = 200
LAYOUT = Layout(COUNT * MIB)
EVERYTHING = (1 << COUNT) - 1


def readers(*events: ev.ReaderJoined | ev.ReaderMoved | ev.ReaderLeft) -> Readers:
    made = Readers()
    for event in events:
        made.handle(event, 0.0)
    return made


def joined(
    reader: int = 1, start: int = 0, stop: int = LAYOUT.size, *, background: bool = False
) -> ev.ReaderJoined:
    return ev.ReaderJoined(reader, start, stop, background)


def test_without_a_client_everything_is_wanted_alike() -> None:
    for made in (readers(), readers(joined(background=True))):
        demand = made.demand(LAYOUT, 0)
        assert (demand.window, demand.urgent) == (EVERYTHING, 0)


def test_a_client_wants_a_window_and_its_next_chunks_first() -> None:
    demand = readers(joined(), ev.ReaderMoved(1, 10 * MIB)).demand(LAYOUT, 0b1 << 10)
    assert list(iter_bits(demand.window)) == list(range(11, 11 + WINDOW))
    assert list(iter_bits(demand.urgent)) == list(range(11, 11 + URGENT))


def test_each_client_has_its_own_window() -> None:
    demand = readers(joined(1), joined(2, 150 * MIB)).demand(LAYOUT, 0)
    assert demand.window == sum(1 << i for i in [*range(WINDOW), *range(150, COUNT)])
    assert demand.urgent == 0b11 | 0b11 << 150


def test_who_waits_longest_comes_first_and_who_has_some_to_read_on_with_last() -> None:
    made = readers(joined(1), joined(2, 100 * MIB), joined(3, 150 * MIB))
    made.handle(ev.ReaderMoved(1, MIB), 1.0)
    made.handle(ev.ReaderMoved(2, 101 * MIB), 0.5)
    demand = made.demand(LAYOUT, 1 | 1 << 100 | 0b111 << 150)
    assert demand.heads == (0b11 << 101, 0b11 << 1, 0b11 << 153)
    assert demand.turn(EVERYTHING) == (0b11 << 101, True)
    assert demand.turn(EVERYTHING & ~(0b11 << 101)) == (0b11 << 1, True)
    assert demand.turn(0b11 << 153) == (0b11 << 153, False)
    assert demand.turn(1 << 50) == (0, False)


def test_a_client_of_a_range_is_in_no_hurry_behind_it() -> None:
    demand = readers(joined(1, 5 * MIB, 6 * MIB)).demand(LAYOUT, 0)
    assert list(iter_bits(demand.urgent)) == [5]
    assert not readers(joined(1, 5 * MIB, 6 * MIB)).demand(LAYOUT, 1 << 5).urgent


def test_a_client_at_the_end_leaves_the_beginning_to_be_fetched() -> None:
    """The blob is wanted whole, though this client has read what it wanted."""
    have = sum(1 << i for i in range(190, COUNT))
    demand = readers(joined(1, 190 * MIB)).demand(LAYOUT, have)
    assert demand.window >> 0 & 1
    assert demand.window & have == 0


def test_a_reader_that_seeks_replaces_its_range() -> None:
    made = readers(joined(1), joined(1, 100 * MIB))
    assert len(made.active) == 1
    assert made.demand(LAYOUT, 0).urgent >> 100 & 1


def test_the_grace_period_runs_from_the_last_ones_leaving() -> None:
    made = readers(joined(1), joined(2))
    made.handle(ev.ReaderLeft(1), 5.0)
    assert made.ends(30.0) is None
    made.handle(ev.ReaderLeft(2), 7.0)
    assert made.ends(30.0) == 37.0
    assert not made.expired(30.0, 36.9)
    assert made.expired(30.0, 37.0)
    made.handle(ev.ReaderLeft(2), 20.0)
    assert made.ends(30.0) == 37.0
    made.handle(joined(3), 30.0)
    assert made.ends(30.0) is None


def test_a_stranger_moves_nothing() -> None:
    made = readers(joined(1), ev.ReaderMoved(9, 50 * MIB), ev.ReaderLeft(9))
    assert list(made.active) == [1]
    assert made.lonely is None


@given(
    st.integers(0, LAYOUT.size),
    st.integers(0, LAYOUT.size),
    st.integers(0, 2 * LAYOUT.size),
    st.integers(0, EVERYTHING),
)
def test_demand_is_within_the_blob_and_never_empty(a: int, b: int, position: int, have: int) -> None:
    made = readers(joined(1, min(a, b), max(a, b)), ev.ReaderMoved(1, position))
    demand = made.demand(LAYOUT, have)
    assert 0 < demand.window <= EVERYTHING
    assert 0 <= demand.urgent <= EVERYTHING
    if have != EVERYTHING:
        assert demand.window & ~have or demand.window == EVERYTHING
