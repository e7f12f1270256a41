from __future__ import annotations

from p2p.core.dht.contact import Contact, Endpoint
from p2p.core.dht.events import Action, Ended, Provide, Seek
from p2p.core.dht.lookup import Lookup
from p2p.core.dht.messages import Held
from p2p.core.dht.searches import AT_ONCE, BUDGET, PUT_BUDGET, WAITING, Searches
from tests.support.dht_rig import EPOCH, record_of

KEY = b"k" * 20
ONE = Contact(b"1" * 20, Endpoint(b"\x0a\0\0\1", 1))
HELD = Held(record_of(1, KEY), ONE.endpoint.ip)


def begin(event: Seek | Provide, now: float) -> Lookup:
    return Lookup(KEY, [ONE], own=b"0" * 20, until=now + BUDGET, k=8, enough=2)


def test_so_many_run_and_the_others_wait() -> None:
    searches, out = Searches(begin), list[Action]()
    for number in range(AT_ONCE + 2):
        searches.add(Seek(number, KEY, 2), out)
    started = searches.start(5.0)
    assert (len(started), searches.waiting, len(searches.running)) == (AT_ONCE, 2, AT_ONCE)
    assert searches.changed(5.0) == started
    assert searches.next_deadline() == 5.0 + BUDGET
    assert searches.end(started[0], 5.5) == Ended(0, 0, 0.5, 0)
    (next_one,) = searches.start(6.0)
    assert next_one.until == 6.0 + BUDGET, "its time begins when it does"
    assert out == []


def test_one_too_many_ends_at_once() -> None:
    searches, out = Searches(begin), list[Action]()
    for number in range(WAITING + 1):
        searches.add(Seek(number, KEY, 2), out)
    assert out == [Ended(WAITING, 0, 0.0, 0)]


def test_answers_reach_their_lookup() -> None:
    searches = Searches(begin)
    searches.add(Seek(7, KEY, 2), [])
    (search,) = searches.start(0.0)
    searches.changed(0.0)
    assert search.lookup.next(0.0) == [ONE]
    assert searches.changed(0.5) == [], "nothing came"
    searches.late(7, ONE.id)
    news = searches.answered(7, ONE.id, [], [HELD])
    assert news is not None
    assert (news.lookup, news.records) == (7, (HELD,))
    assert searches.answered(7, ONE.id, [], [HELD]) is None, "known"
    assert searches.changed(0.5) == [search]
    assert searches.changed(BUDGET) == [search], "out of time"
    assert searches.end(search, 0.5) == Ended(7, 1, 0.5, 1)
    for gone in (searches.late, searches.failed, searches.stored):
        gone(7, ONE.id)
    assert searches.answered(7, ONE.id, [], [HELD]) is None
    assert searches.changed(9.0) == []


def test_puts_are_counted() -> None:
    searches = Searches(begin)
    searches.add(Provide(7, HELD.record, EPOCH), [])
    (search,) = searches.start(0.0)
    searches.begin_puts(search)
    search.puts = {ONE.id, b"2" * 20, b"3" * 20}
    assert searches.next_deadline() == PUT_BUDGET
    searches.stored(7, ONE.id)
    searches.stored(7, ONE.id)
    searches.failed(7, b"2" * 20)
    assert (search.puts, search.stored) == ({b"3" * 20}, 1)
    assert searches.end(search, 1.0).count == 1


def test_dropped() -> None:
    searches = Searches(begin)
    searches.add(Seek(1, KEY, 2), [])
    searches.start(0.0)
    searches.add(Seek(2, KEY, 2), [])
    searches.drop(1)
    searches.drop(2)
    assert (len(searches.running), searches.waiting, searches.next_deadline()) == (0, 0, None)
    assert searches.changed(9.0) == []
