from __future__ import annotations

from collections import Counter

import pytest

from p2p.core.swarm.events import LeaseState, Planned
from p2p.core.wire.common import Holding, Provider
from p2p.discovery.static import COMMON, PLAN_SIZE, PREFIX, StaticPeers, parse_address
from p2p.errors import ConfigError


@pytest.mark.parametrize(
    "text", ["", "h", ":1", "h:", "h:0", "h:65536", "h:1x", "::1:5001", "a b:1", "h/x:1"]
)
def test_addresses_that_are_none(text):
    with pytest.raises(ConfigError):
        StaticPeers((text,))


def test_addresses():
    assert parse_address("node-7:5001") == ("node-7", 5001)
    assert parse_address("[::1]:5001") == ("::1", 5001)


def test_a_configured_peer_has_a_placeholder_until_it_is_met():
    static = StaticPeers(("10.0.0.7:5001",), own="me")
    (provider,) = static.providers("d")
    assert provider == Provider("static:10.0.0.7:5001", "10.0.0.7:5001", "10.0.0.7", 5001)
    assert provider.node.startswith(PREFIX)
    static.add_known(Provider("seven", "n7", "10.0.0.7", 5001, complete=True))
    (provider,) = static.providers("d")
    assert (provider.node, provider.complete) == ("seven", False)
    static.forget("seven")
    assert static.nodes() == ("seven",), "configured: it stays"
    assert static.providers("d", frozenset({"seven"})) == ()


def test_a_hint_changes_nothing_that_is_known():
    static = StaticPeers(("10.0.0.7:5001",), own="me")
    static.add_known(Provider("met", "m", "10.0.0.8", 5001))
    static.add_hint(Provider("met", "liar", "10.6.6.6", 666))
    static.add_hint(Provider("other", "liar", "10.0.0.8", 5001))
    static.add_hint(Provider("other", "liar", "10.0.0.7", 5001))
    static.add_hint(Provider("me", "liar", "10.6.6.6", 666))
    assert static.nodes() == ("static:10.0.0.7:5001", "met")
    static.add_hint(Provider("new", "n", "10.0.0.9", 5001))
    assert static.nodes()[-1] == "new"
    static.add_known(Provider("new", "n", "10.0.0.10", 5001))
    assert static.providers("d")[-1].host in ("10.0.0.8", "10.0.0.10"), "who is met counts"


def test_a_place_is_free_when_who_was_there_is_gone_or_elsewhere():
    static = StaticPeers(own="me", capacity=2)
    static.add_known(Provider("a", "a", "10.0.0.1", 5001))
    static.add_known(Provider("b", "b", "10.0.0.1", 5001))
    static.forget("b")
    static.add_hint(Provider("c", "c", "10.0.0.1", 5001))
    assert static.nodes() == ("a",), "one of two is still there"
    static.add_known(Provider("a", "a", "10.0.0.2", 5001))
    static.add_hint(Provider("c", "c", "10.0.0.1", 5001))
    assert static.nodes() == ("a", "c"), "it moved"
    static.add_known(Provider("d", "d", "10.0.0.4", 5001))
    static.add_hint(Provider("e", "e", "10.0.0.2", 5001))
    assert static.nodes() == ("d", "e"), "who was met longest ago gave way, its place too"


def test_oneself_is_never_named():
    static = StaticPeers(("10.0.0.7:5001",), own="me")
    static.add_known(Provider("me", "me", "10.0.0.7", 5001))
    assert static.providers("d") == ()
    assert not static.available


def test_met_peers_are_bounded_and_spread():
    static = StaticPeers(own="me", capacity=100)
    for number in range(150):
        static.add_known(Provider(f"n{number}", "n", "h", 1000 + number))
    assert len(static.nodes()) == 100
    assert "n49" not in static.nodes()
    assert len(static.providers("d")) == 30
    assert static.providers("d") == static.providers("d")
    assert static.providers("d") != static.providers("e")
    static.forget("n149")
    static.forget("n149")
    assert len(static.nodes()) == 99


async def test_a_want_is_answered_from_the_run(nursery, news, digest):
    static, got = StaticPeers(("h:1",)), news()
    await nursery.start(static.run)
    static.want(digest, 7, lease=True, unreachable=frozenset(), sink=got)
    assert not got.all
    planned = await got.until(lambda n: isinstance(n, Planned))
    assert (planned.route, planned.lease, planned.size) == ("static", LeaseState.UNASKED, 7)
    static.announce(Holding(str(digest), 1, 1, True))
    static.unwant(digest)
    nursery.cancel_scope.cancel()


def test_all_meet_at_a_few_and_a_crowd_spreads_over_the_others() -> None:
    """Where all went to the same thirty of a hundred, these served the crowd alone."""
    ranked: list[tuple[str, ...]] = []
    for number in range(20):
        static = StaticPeers(own=f"own-{number}")
        for other in range(100):
            static.add_known(Provider(f"n{other}", f"n{other}", f"10.0.0.{other}", 5001))
        ranked.append(tuple(one.node for one in static.providers("d")))
    assert len({one[:COMMON] for one in ranked}) == 1
    assert all(len(one) == len(set(one)) == PLAN_SIZE for one in ranked)
    often = Counter(node for one in ranked for node in one[COMMON:])
    assert len(often) > 90
    assert max(often.values()) < len(ranked) * 3 / 4
