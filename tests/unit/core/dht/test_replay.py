from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.replay import ReplayWindow


def test_once_only_and_in_time() -> None:
    window = ReplayWindow()
    assert window.add(b"a", 100.2, 100.0)
    assert not window.add(b"a", 100.2, 101.0)
    assert window.add(b"b", 71.0, 101.0)
    assert not window.add(b"c", 70.9, 101.0)
    assert not window.add(b"c", 131.1, 101.0)
    assert window.add(b"c", 131.0, 101.0)


def test_what_is_too_old_to_come_again_is_forgotten() -> None:
    window = ReplayWindow()
    for second in range(1000):
        assert window.add(b"%d" % second, float(second), float(second))
    assert len(window) <= 33


def test_too_many_close_the_window_early() -> None:
    window = ReplayWindow(capacity=10)
    for number in range(10):
        assert window.add(b"%d" % number, 100.0 + number, 105.0)
    assert window.add(b"new", 110.0, 105.0)
    assert len(window) == 10
    assert not window.fresh(100.9, 105.0), "of the second that was forgotten nobody can tell"
    assert not window.add(b"0", 100.0, 105.0)
    assert not window.add(b"1", 101.0, 105.0), "still known"


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 90), st.floats(0, 1)), max_size=80))
def test_nothing_is_ever_taken_twice(events: list[tuple[int, float, float]]) -> None:
    window, taken, wall = ReplayWindow(capacity=8), set(), 0.0
    for name, sent, pause in events:
        wall += pause
        nonce = b"%d" % name
        if window.add(nonce, sent, wall):
            assert (nonce, sent) not in taken
            taken.add((nonce, sent))
        assert len(window) <= 8
