from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.fair_queue import REMEMBERED, FairQueue


def serve(queue):
    item = queue.first()
    queue.leave(item, served=True)
    return item


def test_keys_take_turns_however_many_each_has():
    queue = FairQueue()
    for number in range(6):
        queue.enter("many", 100, ("many", number))
    queue.enter("one", 100, ("one", 0))
    order = [serve(queue) for _ in range(7)]
    assert order.index(("one", 0)) <= 1
    assert [item for item in order if item[0] == "many"] == [("many", number) for number in range(6)]
    assert queue.first() is None


def test_a_small_request_of_a_new_key_is_next():
    queue = FairQueue()
    for number in range(3):
        queue.enter("blob", 4 << 20, ("chunk", number))
    assert serve(queue) == ("chunk", 0)
    queue.enter("manifest", 1000, ("manifest", 0))
    assert serve(queue) == ("manifest", 0)


def test_who_gives_up_is_out():
    queue = FairQueue()
    one, two = ["one"], ["two"]
    queue.enter("a", 1, one)
    queue.enter("b", 2, two)
    queue.leave(one, served=False)
    queue.leave(one, served=False)
    assert queue.first() is two
    assert len(queue) == 1


def test_keys_are_forgotten():
    queue = FairQueue()
    for number in range(3 * REMEMBERED):
        queue.enter(number, 1, [number])
        serve(queue)
    assert len(queue._ends) <= REMEMBERED


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 100)), min_size=1, max_size=100))
def test_each_backlogged_key_gets_as_many_bytes_as_any_other(requests):
    queue = FairQueue()
    left = dict.fromkeys("abc", 0)
    for number, (key, size) in enumerate(requests):
        queue.enter(key, size, (number, key, size))
        left[key] += 1
    got = dict.fromkeys("abc", 0)
    busy = {key for key in left if left[key]}
    while queue:
        _, key, size = serve(queue)
        got[key] += size
        left[key] -= 1
        if not left[key]:
            break
        assert max(got[key] for key in busy) - min(got[key] for key in busy) <= 200
