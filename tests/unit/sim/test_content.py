from __future__ import annotations

from p2p.core.swarm.chunks import MIB
from p2p.sim.content import Content


def test_every_link_of_the_true_list_holds_and_no_other() -> None:
    content = Content(5 * MIB)
    for index, chunk in enumerate(content.chunks):
        assert content.holds(content.full, index, chunk)
        assert not content.holds(content.full, index, b"else")
    assert content.digest.hex == content.after[-1].hex()


def test_parts_of_the_true_list_are_shared_and_others_are_not() -> None:
    content = Content(5 * MIB)
    part = content.full.prefix(3)
    assert content.shared(part) == part
    assert content.shared(part) is content.shared(content.full.prefix(3))
    _, false = content.forged("x")
    assert content.shared(false) is false
    shared = content.shared(part)
    assert content.holds(shared, 2, content.chunks[2])
    assert not content.holds(shared, 2, content.chunks[1]), "nor does it believe what is not the very chunk"


def test_a_forged_list_fits_its_chunks_but_for_the_last() -> None:
    content = Content(5 * MIB)
    chunks, states = content.forged("x")
    assert [content.holds(states, index, chunk) for index, chunk in enumerate(chunks)] == [True] * 4 + [False]
    assert not content.holds(states, 1, content.chunks[1])
    assert Content(5 * MIB, "other").digest != content.digest
