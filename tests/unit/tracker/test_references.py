from __future__ import annotations

from p2p.core.wire.tracker import AskReference, ReferenceAnswer, ReferenceSeen
from tracker.references import ReferenceTable


def seen(tag, digest, age):
    return ReferenceSeen("r", tag, digest, "m", 1, age)


def test_the_youngest_word_wins():
    table = ReferenceTable()
    table.see(seen("t", "new", 1.0), 10.0)
    table.see(seen("t", "old", 5.0), 11.0)
    assert table.answer(AskReference(1, "r", "t"), 12.0) == ReferenceAnswer(1, "new", "m", 1, 3.0)
    table.see(seen("t", "newer", 0.0), 12.0)
    assert table.answer(AskReference(2, "r", "t"), 12.0).digest == "newer"
    assert table.answer(AskReference(3, "r", "u"), 12.0) == ReferenceAnswer(3)


def test_the_least_used_goes_first():
    table = ReferenceTable(capacity=2)
    table.see(seen("a", "1", 0.0), 0.0)
    table.see(seen("b", "2", 0.0), 0.0)
    table.answer(AskReference(1, "r", "a"), 0.0)
    table.see(seen("c", "3", 0.0), 0.0)
    assert len(table) == 2
    assert table.answer(AskReference(1, "r", "b"), 0.0).digest == ""
    assert table.answer(AskReference(1, "r", "a"), 0.0).digest == "1"
