import pytest

from p2p.origin.companions import Companions


def measured(companions: Companions, rate: float, now: float, seconds: float = 2.0) -> float:
    """Let bytes come for so long, and give the time at its end."""
    for tick in range(int(seconds * 100)):
        companions.arrived(int(rate / 100), now + tick / 100)
    return now + seconds


def test_alone_until_it_is_told_to_begin():
    companions = Companions(4, 0.5)
    assert not companions.arrived(1 << 30, 9.0)
    assert companions.connections == 1


def test_a_throttled_upstream_gets_all_of_them_step_by_step():
    companions = Companions(4, 0.5)
    companions.begin(1e6, 10.0)
    assert companions.connections == 2
    now = measured(companions, 2e6, 10.0, 1.6)
    assert companions.connections == 4
    measured(companions, 4e6, now)
    assert companions.connections == 4


def test_a_slow_line_is_left_to_one():
    companions = Companions(4, 0.5)
    companions.begin(7e6, 10.0)
    now = measured(companions, 7e6, 10.0, 1.6)
    assert companions.connections == 1
    measured(companions, 9e6, now)
    assert companions.connections == 1
    companions.begin(7e6, 20.0)
    assert companions.connections == 2, "it can be tried again"


def test_two_stay_where_four_bring_no_more():
    companions = Companions(4, 0.5)
    companions.begin(1e6, 10.0)
    now = measured(companions, 2e6, 10.0, 1.6)
    now = measured(companions, 2.2e6, now)
    assert companions.connections == 2
    measured(companions, 9e6, now)
    assert companions.connections == 2


def test_the_start_of_a_connection_does_not_count():
    companions = Companions(2, 0.5)
    companions.begin(1e6, 10.0)
    assert not companions.arrived(0, 10.4)
    now = measured(companions, 1.5e6, 10.5, 1.0)
    assert companions.arrived(1, now)
    assert companions.connections == 2


def test_a_connection_that_gave_nothing_gets_companions():
    companions = Companions(3, 0.5)
    companions.begin(0.0, 10.0)
    measured(companions, 1000, 10.0)
    assert companions.connections == 3


@pytest.mark.parametrize("most", [2, 4])
def test_without_patience_all_are_used(most):
    companions = Companions(most, 0.0)
    companions.begin(1e9, 10.0)
    assert companions.connections == most
    assert not companions.arrived(1, 11.0)
