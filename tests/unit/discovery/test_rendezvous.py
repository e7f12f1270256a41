from collections import Counter

import pytest

from p2p.discovery.rendezvous import REPLICAS, ranking, weight

URLS = tuple(f"ws://10.0.0.{n}:5010/ws" for n in range(1, 5))
KEYS = [f"sha256:{n:064x}" for n in range(3000)]


def replicas(urls, key):
    return [urls[place] for place in ranking(urls, key)][:REPLICAS]


def test_every_node_finds_the_same_whatever_the_order_it_has_them_in():
    for key in KEYS[:50]:
        assert replicas(URLS, key) == replicas(URLS[::-1], key)
    assert weight("a", "b") != weight("b", "a")
    assert ranking(URLS[:1], "x") == (0,)


def test_each_tracker_has_its_share():
    first = Counter(replicas(URLS, key)[0] for key in KEYS)
    told = Counter(url for key in KEYS for url in replicas(URLS, key))
    assert all(count == pytest.approx(len(KEYS) / 4, rel=0.15) for count in first.values())
    assert all(count == pytest.approx(len(KEYS) / 2, rel=0.15) for count in told.values())


@pytest.mark.parametrize("gone", URLS)
def test_losing_or_adding_one_moves_its_share_alone(gone):
    rest = tuple(url for url in URLS if url != gone)
    moved = 0
    for key in KEYS:
        before, after = replicas(URLS, key), replicas(rest, key)
        if gone in before:
            moved += 1
            assert [url for url in before if url != gone] == after[: REPLICAS - 1]
        else:
            assert before == after
    assert moved == pytest.approx(len(KEYS) / 2, rel=0.15)
