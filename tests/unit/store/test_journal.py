from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import MIB, Layout
from p2p.core.swarm.midstates import Midstates
from p2p.store import journal

DIGEST = Digest.of(b"x")
LAYOUT = Layout(20 * MIB)


def numbered(*numbers: int) -> Midstates:
    return Midstates("sha256", b"".join(n.to_bytes(32, "big") for n in numbers))


LISTS = st.lists(st.integers(0, 1), max_size=LAYOUT.count - 1).map(lambda numbers: numbered(*numbers))
STEPS = st.lists(
    st.one_of(LISTS, st.frozensets(st.integers(0, LAYOUT.last), min_size=1, max_size=6)), max_size=8
)


def written(steps: list[Midstates | frozenset[int]]) -> list[tuple[bytes, Midstates, frozenset[int]]]:
    """Encode a course: the journal after each step, and what it must say then."""
    data = journal.header(DIGEST, LAYOUT.size)
    midstates, chunks = numbered(), frozenset[int]()
    course = [(data, midstates, chunks)]
    for step in steps:
        if isinstance(step, Midstates):
            data += journal.difference(midstates, step)
            midstates = step
        else:
            data += journal.chunks(sorted(step))
            chunks |= step
        course.append((data, midstates, chunks))
    return course


@pytest.mark.slow
@given(STEPS)
def test_a_whole_journal_says_what_was_written(steps: list[Midstates | frozenset[int]]) -> None:
    data, midstates, chunks = written(steps)[-1]
    replay = journal.replay(data)
    assert replay is not None
    assert (replay.digest, replay.layout) == (DIGEST, LAYOUT)
    assert replay.midstates == midstates
    assert frozenset(replay.written) == chunks
    assert replay.length == len(data)


@pytest.mark.slow
@given(STEPS, st.data())
def test_one_cut_at_any_byte_says_what_was_written_before(
    steps: list[Midstates | frozenset[int]], draw: st.DataObject
) -> None:
    course = written(steps)
    cut = draw.draw(st.integers(0, len(course[-1][0])))
    replay = journal.replay(course[-1][0][:cut])
    whole = [state for state in course if len(state[0]) <= cut]
    if not whole:
        assert replay is None
        return
    data, midstates, chunks = whole[-1]
    assert replay is not None
    assert replay.length == len(data)
    assert replay.midstates == midstates
    assert frozenset(replay.written) == chunks


@pytest.mark.slow
@given(STEPS, st.data())
def test_a_damaged_byte_ends_it_there(steps: list[Midstates | frozenset[int]], draw: st.DataObject) -> None:
    course = written(steps)
    data = bytearray(course[-1][0])
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    replay = journal.replay(bytes(data))
    before = [state for state in course if len(state[0]) <= at]
    if not before:
        assert replay is None
        return
    assert replay is not None
    assert replay.length == len(before[-1][0])
    assert frozenset(replay.written) == before[-1][2]


@given(st.binary(max_size=300))
def test_garbage_is_no_journal(data: bytes) -> None:
    assert journal.replay(data) is None
    assert journal.begun(data) is None


def test_the_header_is_read_from_its_beginning_alone() -> None:
    data = journal.header(Digest.of(b"y", "sha512"), 5)
    assert len(data) < journal.HEADER_LIMIT
    assert journal.begun(data + b"rest") == (Digest.of(b"y", "sha512"), 5)
    assert journal.begun(journal.chunks([1])) is None


def test_foreign_headers_are_refused() -> None:
    good = b"\x01" + (5).to_bytes(8, "little") + str(DIGEST).encode()
    assert journal.begun(journal._record(journal.HEADER, good)) == (DIGEST, 5)
    for payload in (
        b"\x02" + good[1:],
        good[:-1],
        good[:9] + b"\xff",
        good[:1] + b"\xff" * 8 + good[9:],
        b"",
    ):
        assert journal.begun(journal._record(journal.HEADER, payload)) is None


def test_records_that_make_no_sense_end_it() -> None:
    start = journal.header(DIGEST, LAYOUT.size) + journal.chunks([3])
    for nonsense in (
        journal.chunks([LAYOUT.count]),
        journal.states(0, bytes(32 * LAYOUT.count)),
        journal.states(1, bytes(32)),
        journal.states(0, b"cut"),
        journal._record(journal.LIST, b"x"),
        journal._record(journal.CHUNKS, b"x"),
        journal._record(journal.CHUNKS, b"\xff" * 8),
    ):
        replay = journal.replay(start + nonsense + journal.chunks([4]))
        assert replay is not None
        assert replay.length == len(start)
        assert list(replay.written) == [3]


def test_a_run_of_chunks_takes_one_pair() -> None:
    assert len(journal.chunks(range(1000))) == len(journal.chunks([1]))
    assert journal.difference(numbered(1), numbered(1)) == b""
    assert journal.difference(numbered(1), numbered(1, 2)) == journal.states(1, numbered(2).states)
    assert journal.difference(numbered(1, 2), numbered(1)) == journal.states(1, b"")
    assert journal.difference(numbered(1, 2), numbered(1, 3)) == journal.states(1, numbered(3).states)
