from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.chunks import GIB, MAX_BLOB, MIB, Layout, chunk_size

SIZES = st.one_of(st.integers(0, MAX_BLOB), st.integers(0, 4 * MIB), st.integers(255 * MIB, 257 * MIB))


@pytest.mark.parametrize(
    ("size", "chunk", "count"),
    [
        (0, MIB, 1),
        (1, MIB, 1),
        (MIB, MIB, 1),
        (MIB + 1, MIB, 2),
        (256 * MIB - 1, MIB, 256),
        (256 * MIB, 4 * MIB, 64),
        (16 * GIB - 1, 4 * MIB, 4096),
        (16 * GIB, 16 * MIB, 1024),
        (MAX_BLOB, 16 * MIB, 1 << 20),
    ],
)
def test_chunk_size_follows_the_blob_size_alone(size: int, chunk: int, count: int) -> None:
    layout = Layout(size)
    assert (layout.chunk, layout.count, layout.last) == (chunk, count, count - 1)
    assert chunk_size(size) == chunk


@pytest.mark.parametrize("size", [-1, MAX_BLOB + 1])
def test_sizes_that_are_not_believed(size: int) -> None:
    with pytest.raises(ValueError, match="blob size"):
        Layout(size)


@pytest.mark.slow
@given(SIZES)
def test_chunks_tile_the_blob(size: int) -> None:
    layout = Layout(size)
    assert layout.chunk % 128 == 0
    assert layout.offset(0) == 0
    assert layout.offset(layout.count) == size
    assert layout.length(0, layout.count) == size
    assert 0 <= layout.length(layout.last) <= layout.chunk
    assert layout.length(layout.last) > 0 or size == 0
    if layout.count > 1:
        assert layout.length(0) == layout.chunk
        assert layout.length(layout.last - 1, 2) == size - layout.offset(layout.last - 1)


@pytest.mark.slow
@given(SIZES, st.data())
def test_covering_holds_exactly_the_touched_chunks(size: int, data: st.DataObject) -> None:
    layout = Layout(size)
    start = data.draw(st.integers(0, size + layout.chunk))
    stop = data.draw(st.integers(0, size + 2 * layout.chunk))
    covering = layout.covering(start, stop)
    stop = min(stop, size)
    if start >= stop:
        assert len(covering) == 0
        return
    assert layout.offset(covering[0]) <= start < layout.offset(covering[0] + 1)
    assert layout.offset(covering[-1]) < stop <= layout.offset(covering[-1] + 1)


def test_a_range_past_the_end_touches_nothing() -> None:
    assert list(Layout(10).covering(20, 30)) == []
    assert list(Layout(10).covering(5, 5)) == []
    assert list(Layout(0).covering(0, 1)) == []
    assert list(Layout(3 * MIB).covering(MIB - 1, MIB + 1)) == [0, 1]
