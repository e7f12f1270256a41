import random

import pytest

from p2p.discovery.standing import OUT_AFTER, RETURN, SPREAD, Standing

URLS = ("ws://a", "ws://b", "ws://c")


def make(count=3, up=True):
    standing = Standing(URLS[:count], random.Random(1), 0.0)
    if up:
        for place in range(count):
            standing.up(place, 0.0)
    return standing


def test_the_first_one_leads_and_the_next_one_at_once_when_it_is_gone():
    standing = make()
    for key in map(str, range(20)):
        first, second, third = standing.ranking(key)
        assert standing.leader(key) == first
        assert standing.charge(key) == (first, second)
        standing.down(first, 1.0)
        assert standing.leader(key) == second
        standing.down(second, 1.0)
        assert standing.leader(key) == third
        standing.down(third, 1.0)
        assert standing.leader(key) is None
        assert not standing.any_up
        standing = make()


def test_one_that_returns_leads_after_a_while_and_not_all_nodes_go_back_at_once():
    returns = set()
    for seed in range(20):
        standing = Standing(URLS[:2], random.Random(seed), 0.0)
        first, second = standing.ranking("k")
        standing.up(first, 0.0)
        standing.up(second, 0.0)
        standing.down(first, 1.0)
        before = standing.changed
        standing.up(first, 2.0)
        assert standing.changed > before
        assert standing.leader("k") == second
        due = standing.next_deadline()
        assert 2.0 + RETURN <= due <= 2.0 + RETURN + SPREAD
        standing.tick(due - 0.01)
        assert standing.leader("k") == second
        standing.tick(due)
        assert standing.leader("k") == first
        returns.add(due)
    assert len(returns) == 20


def test_one_that_returns_leads_at_once_where_nobody_else_is():
    standing = make(2)
    first, second = standing.ranking("k")
    standing.down(first, 1.0)
    standing.up(first, 2.0)
    standing.down(second, 2.1)
    assert standing.leader("k") == first


def test_a_silent_one_does_not_lead_until_it_speaks_and_some_time_after():
    standing = make(2)
    first, second = standing.ranking("k")
    standing.silent(first)
    assert standing.leader("k") == second
    standing.tick(100.0)
    assert standing.leader("k") == second
    standing.spoke(first, 100.0)
    assert standing.leader("k") == second
    standing.tick(100.0 + RETURN + SPREAD)
    assert standing.leader("k") == first
    standing.silent(first)
    standing.silent(second)
    assert standing.leader("k") == first, "all of them: the first is as good as any"
    alone = make(1)
    alone.silent(0)
    assert alone.leader("k") == 0


@pytest.mark.parametrize("key", [str(n) for n in range(10)])
def test_the_share_of_one_that_stays_away_moves_and_comes_back(key):
    standing = make()
    first, second, third = standing.ranking(key)
    standing.down(first, 1.0)
    standing.tick(1.0 + OUT_AFTER - 0.1)
    assert standing.charge(key) == (first, second), "a restart moves nothing"
    assert standing.next_deadline() == 1.0 + OUT_AFTER
    standing.tick(1.0 + OUT_AFTER)
    assert standing.charge(key) == (second, third)
    assert standing.next_deadline() is None
    standing.up(first, 20.0)
    assert standing.charge(key) == (first, second)
    standing.down(third, 21.0)
    standing.tick(40.0)
    assert standing.charge(key) == (first, second), "not its share"


def test_two_are_always_both_in_charge():
    standing = make(2, up=False)
    standing.tick(100.0)
    assert set(standing.charge("k")) == {0, 1}
    assert standing.leader("k") is None


def test_a_repeated_word_changes_nothing():
    standing = make()
    before = standing.changed
    standing.spoke(0, 1.0)
    standing.tick(1.0)
    standing.down(0, 1.0)
    standing.down(0, 2.0)
    assert standing.changed == before + 1
    assert standing.next_deadline() == 1.0 + OUT_AFTER
