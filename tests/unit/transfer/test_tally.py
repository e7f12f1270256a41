from __future__ import annotations

from p2p.transfer.api import Sources
from p2p.transfer.tally import Tally


def test_followers_get_what_was_counted_before_and_after() -> None:
    tally, early, late = Tally(), Sources(), Sources()
    tally.follow(early)
    tally.kept(7)
    tally.got("a", 1)
    tally.got(None, 10)
    tally.follow(late)
    tally.got("a", 2)
    tally.got("b", 4)
    assert (tally.cache, tally.origin, tally.peers) == (7, 10, {"a": 3, "b": 4})
    assert early == late == Sources(cache=7, peers=7, origin=10)
