from __future__ import annotations

from p2p.transfer.api import Sources, TransferStatistics, Wanted
from tests.support.cluster import APP
from tests.support.store_rig import blob


def test_sources_are_told_by_name() -> None:
    assert Sources(1, 2, 3).pairs() == (("cache", 1), ("peers", 2), ("origin", 3))


def test_statistics_of_two_nodes_are_their_own() -> None:
    one, other = TransferStatistics(), TransferStatistics()
    one.banned["x"] = "lies"
    assert other.banned == {}


def test_wanted_is_a_value_without_a_size_where_none_is_known() -> None:
    digest = blob(5).digest
    assert Wanted(APP, digest) == Wanted(APP, digest, size=0)
    assert hash(Wanted(APP, digest)) == hash(Wanted(APP, digest))
