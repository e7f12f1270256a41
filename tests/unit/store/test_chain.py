from __future__ import annotations

import pytest

from p2p.core.swarm.midstates import Midstates
from p2p.store.chain import Chain, Link, Rehash
from tests.support.store_rig import HASHER, MIB, UNLINKED, blob

CONTENT = blob(3 * MIB + 5)
CHAIN = Chain(CONTENT.digest, CONTENT.layout, HASHER)


def test_a_link_is_known_when_both_its_ends_are() -> None:
    empty = Midstates("sha256")
    assert [CHAIN.link(empty, index) for index in range(4)] == [None] * 4
    two = CONTENT.midstates.prefix(2)
    assert [CHAIN.link(two, index) is not None for index in range(4)] == [True, True, False, False]
    last = CHAIN.link(CONTENT.midstates, 3)
    assert last == Link(3, CONTENT.midstates.state(3), CONTENT.digest.raw)


def test_one_chunk_needs_no_list() -> None:
    small = blob(10)
    for hasher in (HASHER, UNLINKED):
        chain = Chain(small.digest, small.layout, hasher)
        link = chain.link(Midstates("sha256"), 0)
        assert link is not None
        assert chain.holds(link, memoryview(small.data))
        assert not chain.holds(link, memoryview(b"0123456789"))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_chunks_hold_under_their_own_link_only(algorithm: str) -> None:
    content = blob(3 * MIB + 5, algorithm=algorithm)
    chain = Chain(content.digest, content.layout, HASHER)
    for index in range(4):
        link = chain.link(content.midstates, index)
        assert link is not None
        assert [chain.holds(link, content.chunk(other)) for other in range(3)] == [
            index == other for other in range(3)
        ]


def test_cutting() -> None:
    assert [piece.nbytes for piece in CHAIN.cut(1, CONTENT.chunks(1, 3))] == [MIB, MIB, 5]
    for first, data in (
        (0, b""),
        (0, bytes(5)),
        (3, bytes(4)),
        (3, bytes(6)),
        (4, bytes(5)),
        (-1, bytes(MIB)),
    ):
        with pytest.raises(ValueError, match=r"chunks"):
            CHAIN.cut(first, memoryview(data))
    empty = blob(0)
    assert [p.nbytes for p in Chain(empty.digest, empty.layout, HASHER).cut(0, memoryview(b""))] == [0]


@pytest.mark.parametrize("hasher", [HASHER, UNLINKED])
@pytest.mark.parametrize("size", [0, 5, MIB, 3 * MIB + 5])
def test_a_rehash_of_the_whole(hasher: object, size: int) -> None:
    content = blob(size)
    for wrong in (False, True):
        rehash = Rehash(Chain(content.digest, content.layout, hasher))  # type: ignore[arg-type]  # either
        for index in range(content.layout.count):
            assert not rehash.holds
            assert rehash.next == index
            data = bytearray(content.chunk(index))
            if wrong:
                data[-1:] = b"\xff"
            rehash.feed(memoryview(data))
        assert rehash.holds is not wrong
        if not wrong:
            assert rehash.states == (content.midstates.states if hasher is HASHER else b"")
