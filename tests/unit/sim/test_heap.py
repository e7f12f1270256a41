from __future__ import annotations

from p2p.sim.heap import Heap


def test_things_happen_in_order_and_ties_in_that_of_entry() -> None:
    heap, seen = Heap(), list[tuple[float, str]]()

    def note(what: str) -> None:
        seen.append((heap.now, what))
        if what == "a":
            heap.at(0.0, note, "at once, for it has passed")

    for when, what in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        heap.at(when, note, what)
    heap.run(10.0, lambda: False)
    assert seen == [(1.0, "a"), (1.0, "b"), (1.0, "at once, for it has passed"), (2.0, "c")]
    assert heap.events == 4


def test_it_ends_when_told_so_or_when_the_time_is_over() -> None:
    heap, seen = Heap(), list[int]()
    for when in range(5):
        heap.at(float(when), seen.append, when)
    heap.run(2.5, lambda: False)
    assert (seen, heap.now) == ([0, 1, 2], 2.5)
    heap.at(9.0, seen.append, 9)
    heap.run(20.0, lambda: len(seen) == 4)
    assert seen == [0, 1, 2, 4], "what was over the time is gone"


def test_the_digest_tells_runs_apart() -> None:
    def digest(*nodes: int) -> str:
        heap = Heap()
        for node in nodes:
            heap.log(1, node, 7)
        return heap.digest

    assert digest(1, 2) == digest(1, 2) != digest(2, 1)


def test_what_is_entered_late_for_a_slice_that_has_begun_comes_in_order() -> None:
    heap, seen = Heap(), list[float]()

    def note(*further: float) -> None:
        seen.append(heap.now)
        for when in further:
            heap.at(when, note)

    heap.at(-3.0, note, -2.99995, -2.9999, -1.0)
    heap.at(-2.99993, note)
    heap.at(0.00005, note)
    heap.at(-0.00005, note, 0.00001)
    heap.run(10.0, lambda: False)
    assert seen == sorted(seen)
    assert len(seen) == 8


def test_what_is_due_never_does_not_happen() -> None:
    heap, seen = Heap(), list[int]()
    heap.at(float("inf"), seen.append, 1)
    heap.at(1.0, seen.append, 2)
    heap.run(5.0, lambda: False)
    assert seen == [2]
