from __future__ import annotations

from p2p.metadata.hot import Hot


def test_the_least_asked_for_goes_first() -> None:
    hot: Hot[str, int] = Hot(2)
    hot.put("a", 1)
    hot.put("b", 2)
    assert hot.get("a") == 1
    hot.put("c", 3)
    assert (hot.get("a"), hot.get("b"), hot.get("c")) == (1, None, 3)


def test_no_room_keeps_nothing() -> None:
    hot: Hot[str, int] = Hot(0)
    hot.put("a", 1)
    assert hot.fill("a", 2) == 2
    assert hot.get("a") is None


def test_what_was_read_never_replaces_what_was_written() -> None:
    hot: Hot[str, int] = Hot(2)
    assert hot.fill("a", 1) == 1
    hot.put("a", 2)
    assert hot.fill("a", 1) == 2


def test_drop_and_clear() -> None:
    hot: Hot[str, int] = Hot(2)
    hot.put("a", 1)
    hot.drop("a")
    hot.drop("a")
    assert hot.get("a") is None
    hot.put("a", 1)
    hot.clear()
    assert hot.get("a") is None
