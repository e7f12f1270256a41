from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.herald import weight
from p2p.discovery.claims import JITTER, MOST, SETTLE, STEP, delay


def test_alone_there_is_nothing_to_wait_for():
    assert delay("a", "sha256:x", (), random.Random(1)) == 0.0
    assert delay("a", "sha256:x", ("a",), random.Random(1)) == 0.0


@pytest.mark.slow
@given(st.sets(st.text(min_size=1), min_size=2, max_size=8), st.text(), st.integers())
def test_nodes_that_know_each_other_go_one_after_another(nodes, digest, seed):
    rng = random.Random(seed)
    delays = sorted(delay(node, digest, sorted(nodes), rng) for node in sorted(nodes))
    for rank, seconds in enumerate(delays):
        turn = min(rank * STEP, MOST)
        assert turn - 1e-9 <= seconds - SETTLE <= turn + JITTER + 1e-9


def test_the_order_differs_by_digest_and_has_an_end():
    nodes = [f"node-{i}" for i in range(200)]
    firsts = {min(nodes, key=lambda node, d=digest: weight(node, d)) for digest in "abcdefgh"}
    assert len(firsts) > 4
    assert max(delay(node, "a", nodes, random.Random(1)) for node in nodes) <= SETTLE + MOST + JITTER


def test_duplicates_do_not_count_twice():
    once = delay("a", "d", ("b", "c"), random.Random(1))
    assert delay("a", "d", ("b", "c", "b", "c"), random.Random(1)) == once


def test_who_ranks_alike_does_not_go_at_once():
    """Nodes that know only some of each other may each think to be the first."""
    delays = [delay("a", "d", ["b"], random.Random(seed)) for seed in range(100)]
    assert len(set(delays)) == 100
    assert JITTER / 2 < max(delays) - min(delays) <= JITTER
