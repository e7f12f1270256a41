import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.origin.ranges import (
    ContentRange,
    Span,
    parse_content_range,
    parse_length,
    parse_unsatisfied,
    range_fault,
)


def test_header():
    assert Span(0).header() is None
    assert Span(5).header() == "bytes=5-"
    assert Span(0, 10).header() == "bytes=0-9"


@given(st.integers(0, 1 << 60), st.integers(1, 1 << 60), st.integers(0, 1 << 60))
def test_content_range_round_trip(start, length, more):
    stop, size = start + length, start + length + more
    got = parse_content_range(f"bytes {start}-{stop - 1}/{size}")
    assert got == ContentRange(start, stop, size)
    assert range_fault(Span(start, stop), got) == ""
    assert (range_fault(Span(start), got) == "") == (more == 0)


@pytest.mark.parametrize(
    "text",
    [None, "", "bytes 0-9/*", "bytes 9-0/10", "bytes 0-10/10", "0-9/10", "bytes 0-9", "bytes -1-9/10",
     "bytes 0-9/10,0-9/10", "bytes \u0660-9/10x", "bytes 0-9/" + "1" * 40],
)  # fmt: skip
def test_senseless_content_ranges(text):
    assert parse_content_range(text) is None
    assert range_fault(Span(0, 10), parse_content_range(text))


def test_range_must_be_the_one_that_was_asked():
    assert range_fault(Span(0, 10), ContentRange(0, 10, 20)) == ""
    assert range_fault(Span(0, 10), ContentRange(0, 7, 7)) == ""
    assert range_fault(Span(0, 10), ContentRange(0, 9, 20))
    assert range_fault(Span(1, 10), ContentRange(0, 10, 20))
    assert range_fault(Span(0, 10), ContentRange(0, 11, 20))


def test_lengths():
    assert parse_length("12") == 12
    assert parse_length("0") == 0
    for text in (None, "", "-1", "+1", "1_0", "1, 1", "\u0661", "1" * 30):
        assert parse_length(text) is None
    assert parse_unsatisfied("bytes */12") == 12
    assert parse_unsatisfied("bytes 0-1/12") is None
    assert parse_unsatisfied(None) is None
