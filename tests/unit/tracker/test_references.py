from __future__ import annotations

from p2p.core.wire.tracker import AskReference, ReferenceAnswer, ReferenceSeen
from tracker.references import PATIENCE, TURNS, ReferenceTable


def seen(tag, digest, age):
    return ReferenceSeen("r", tag, digest, "m", 1, age)


def stale(table, request, tag, now):
    ((answer),) = (one.message for one in table.ask(9, AskReference(request, "r", tag), now))
    return answer


def fresh(table, conn, now, max_age=0.0, tag="t"):
    return told(table.ask(conn, AskReference(conn * 10, "r", tag, True, max_age), now))


def told(sends):
    """Connection → lease, or digest."""
    assert all(one.message.request == one.conn * 10 for one in sends)
    return {one.conn: one.message.lease or one.message.digest for one in sends}


def test_the_youngest_word_wins():
    table = ReferenceTable()
    table.see(1, seen("t", "new", 1.0), 10.0)
    table.see(1, seen("t", "old", 5.0), 11.0)
    assert stale(table, 1, "t", 12.0) == ReferenceAnswer(1, "new", "m", 1, 3.0)
    table.see(1, seen("t", "newer", 0.0), 12.0)
    assert stale(table, 2, "t", 12.0).digest == "newer"
    assert stale(table, 3, "u", 12.0) == ReferenceAnswer(3)


def test_the_least_used_goes_first():
    table = ReferenceTable(capacity=2)
    table.see(1, seen("a", "1", 0.0), 0.0)
    table.see(1, seen("b", "2", 0.0), 0.0)
    stale(table, 1, "a", 0.0)
    table.see(1, seen("c", "3", 0.0), 0.0)
    assert len(table) == 2
    assert stale(table, 1, "b", 0.0).digest == ""
    assert stale(table, 1, "a", 0.0).digest == "1"


def test_one_asks_the_origin_and_the_rest_are_told():
    table = ReferenceTable()
    assert fresh(table, 1, 0.0, 60.0) == {1: "granted"}
    for conn in range(2, 20):
        assert fresh(table, conn, 0.01, 60.0) == {conn: "held"}
    assert told(table.see(1, seen("t", "d", 0.0), 0.2)) == dict.fromkeys(range(2, 20), "d")
    assert fresh(table, 30, 59.0, 60.0) == {30: "d"}, "younger than it allows"
    assert fresh(table, 31, 61.0, 60.0) == {31: "granted"}
    assert (table.leased, table.shared) == (2, 19)


def test_without_max_age_only_a_request_begun_later_counts():
    """Who comes while a request is under way may have come after the tag moved and the origin looked."""
    table = ReferenceTable()
    assert fresh(table, 1, 0.0) == {1: "granted"}
    assert fresh(table, 2, 0.01) == {2: "held"}
    assert fresh(table, 3, 0.02) == {3: "held"}
    assert told(table.see(1, seen("t", "old", 0.0), 0.1)) == {2: "granted"}
    assert fresh(table, 4, 0.15) == {4: "held"}
    assert told(table.see(2, seen("t", "new", 0.0), 0.2)) == {3: "new", 4: "granted"}
    assert told(table.see(4, seen("t", "new", 0.0), 0.3)) == {}
    assert table.next_deadline() is None
    assert fresh(table, 5, 0.3) == {5: "granted"}


def test_who_allows_some_age_does_not_wait_for_those_who_allow_none():
    table = ReferenceTable()
    fresh(table, 1, 0.0)
    fresh(table, 2, 0.01)
    fresh(table, 3, 0.01, 60.0)
    assert told(table.see(1, seen("t", "d", 0.0), 0.1)) == {3: "d", 2: "granted"}


def test_a_failure_is_for_everybody_to_see():
    table = ReferenceTable()
    fresh(table, 1, 0.0)
    fresh(table, 2, 0.01)
    assert told(table.unseen(2, "r", "t", 0.05)) == {}, "not its turn"
    assert told(table.unseen(1, "r", "t", 0.1)) == {2: "granted"}
    fresh(table, 3, 0.15)
    fresh(table, 4, 0.15)
    assert told(table.unseen(2, "r", "t", 0.2)) == {3: "granted"}
    assert told(table.unseen(3, "r", "t", 0.3)) == {4: ""}, "came before that request began"
    assert table.next_deadline() is None
    assert told(table.unseen(3, "r", "other", 0.3)) == {}


def test_one_that_takes_too_long_or_leaves_is_passed_over():
    table = ReferenceTable()
    fresh(table, 1, 0.0)
    fresh(table, 2, 0.5)
    fresh(table, 3, 0.5)
    assert table.next_deadline() == PATIENCE
    assert told(table.tick(PATIENCE - 0.1)) == {}
    assert told(table.tick(PATIENCE)) == {2: "granted"}
    assert told(table.see(1, seen("t", "late", 0.0), PATIENCE)) == {}, "too late to be waited for"
    assert told(table.leave(2, PATIENCE)) == {3: "granted"}
    assert told(table.leave(3, PATIENCE)) == {}
    assert table.next_deadline() is None
    fresh(table, 4, 2.0)
    assert told(table.tick(9.0)) == {}
    assert table.next_deadline() is None


def test_turns_are_bounded():
    table = ReferenceTable()
    for number in range(TURNS):
        fresh(table, 1, 0.0, tag=f"t{number}")
    assert fresh(table, 1, 0.0, tag="one more") == {1: ""}
    table.tick(PATIENCE)
    assert fresh(table, 1, PATIENCE, tag="one more") == {1: "granted"}
