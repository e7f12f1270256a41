from __future__ import annotations

from p2p.core.swarm.chunks import MIB
from p2p.sim.content import Content


def test_every_link_of_the_true_list_holds_and_no_other() -> None:
    content = Content(5 * MIB)
    for index, chunk in enumerate(content.chunks):
        assert content.holds(content.full, index, chunk)
        assert not content.holds(content.full, index, b"else")
    assert content.digest.hex == content.after[-1].hex()


def test_a_forged_list_fits_its_chunks_but_for_the_last() -> None:
    content = Content(5 * MIB)
    chunks, states = content.forged("x")
    assert [content.holds(states, index, chunk) for index, chunk in enumerate(chunks)] == [True] * 4 + [False]
    assert not content.holds(states, 1, content.chunks[1])
    assert Content(5 * MIB, "other").digest != content.digest
