"""What a swarm hears and tells of streams without a lease."""

from __future__ import annotations

from p2p.core.swarm.actions import Herald
from p2p.core.swarm.events import PeerStreams
from p2p.core.swarm.herald import ENDED, LIFE, PACE, REFRESH, TRUST, Streams, weight

NAMES = sorted((f"n{number}" for number in range(9)), key=lambda name: weight(name, "d"))
FIRST, SECOND, *_, LAST = NAMES


def heard(streams: Streams, node: str, now: float, quiet: float = 0.0, *, over: bool = False) -> list[Herald]:
    streams.heard(PeerStreams("peer", node, quiet, over), now)
    return streams.tell(now)


def test_news_are_passed_on_once_and_again_when_they_are_refreshed() -> None:
    one = Streams(LAST, "d")
    assert heard(one, SECOND, 1.0, 0.25) == [Herald(SECOND, 0.25)]
    assert heard(one, SECOND, 1.1, 0.35) == [], "the same news from another peer"
    assert heard(one, SECOND, 0.75 + REFRESH) == [Herald(SECOND, 0.0)]
    assert heard(one, FIRST, 2.0) == [Herald(FIRST, 0.0)]
    assert heard(one, SECOND, 2.6) == [], "it comes behind"
    assert one.heard_of(2.0 + LIFE - 0.01)
    assert not one.heard_of(2.0 + LIFE)
    assert heard(one, SECOND, 2.0 + LIFE) == [Herald(SECOND, 0.0)], "the first one is silent"


def test_an_end_is_passed_on_and_late_news_bring_nothing_back() -> None:
    one = Streams(LAST, "d")
    heard(one, FIRST, 1.0)
    assert heard(one, FIRST, 1.5, over=True) == [Herald(FIRST, 0.0, over=True)]
    assert not one.heard_of(1.5)
    assert heard(one, FIRST, 1.6, 0.2) == []
    assert not one.heard_of(1.6)
    assert heard(one, FIRST, 1.7) == [Herald(FIRST, 0.0)], "it began again"
    for number in range(2 * ENDED):
        heard(one, f"liar {number}", 2.0, over=True)
    assert len(one._ended) == ENDED


def test_what_is_too_old_or_ones_own_is_no_news() -> None:
    one = Streams(LAST, "d")
    assert heard(one, FIRST, 9.0, LIFE) == []
    assert heard(one, LAST, 9.0) == []
    assert not one.heard_of(9.0)
    assert heard(one, FIRST, 9.0, -5.0) == [Herald(FIRST, 0.0)], "nothing comes from the future"


def test_ones_own_stream_is_told_of_from_time_to_time_and_at_its_end() -> None:
    one = Streams(FIRST, "d")
    assert one.next_at() is None
    one.own = True
    assert one.tell(1.0) == [Herald(FIRST, 0.0)]
    assert one.next_at() == 1.0 + REFRESH
    assert one.tell(1.2) == []
    assert one.tell(1.0 + REFRESH) == [Herald(FIRST, 0.0)]
    one.own = False
    assert one.tell(1.0 + REFRESH + PACE / 2) == [], "too soon"
    assert one.tell(2.0) == [Herald(FIRST, 0.0, over=True)]
    assert one.tell(9.0) == []


def test_a_stream_waits_for_the_first_in_order_and_a_turn_for_any() -> None:
    one = Streams(SECOND, "d")
    heard(one, LAST, 1.0)
    assert one.waits(1.0, progress=1.0)
    one.own = True
    assert not one.waits(1.0, progress=1.0)
    heard(one, FIRST, 1.1)
    assert one.waits(1.1, progress=1.0)


def test_who_has_waited_long_for_his_turn_waits_for_a_stream_that_begins_then() -> None:
    one = Streams(LAST, "d")
    heard(one, FIRST, 5.0)
    assert one.waits(5.0, progress=0.0), "nobody streamed before: nothing could come"
    heard(one, FIRST, 5.0 + TRUST - 0.1)
    assert one.waits(5.0 + TRUST - 0.1, progress=0.0)
    assert not one.waits(5.0 + TRUST, progress=0.0)
    heard(one, SECOND, 20.0)
    assert not one.waits(20.0, progress=0.0), "once for each blob"


def test_a_flood_is_passed_on_at_a_pace() -> None:
    one = Streams(LAST, "d")
    told = [news for number in range(1000) for news in heard(one, f"liar {number}", 1.0 + number * 1e-5)]
    assert len(told) <= 2
