from __future__ import annotations

from p2p.registry.api import RequestStatistics


def test_counters_begin_at_zero_and_are_of_one_node() -> None:
    one, other = RequestStatistics(), RequestStatistics()
    one.requests["blob", 200] += 1
    assert other.requests["blob", 200] == 0
    assert (one.sent, one.hits, one.misses, one.stale_tags) == (0, 0, 0, 0)
