from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.core.oci.range import RangeNotSatisfiableError, Span, parse_range

SIZE = 2048


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=500-1499", [Span(500, 1500)]),
        ("bytes=500-", [Span(500, 2048)]),
        ("bytes=-500", [Span(1548, 2048)]),
        ("bytes=-5000", [Span(0, 2048)]),
        ("bytes=2000-5000", [Span(2000, 2048)]),
        ("bytes=0-0", [Span(0, 1)]),
        ("bytes=0-", [Span(0, 2048)]),
        ("bytes=2047-2047", [Span(2047, 2048)]),
        ("Bytes=0-1", [Span(0, 2)]),
        ("bytes=0-1, 5-6 ,\t-1", [Span(0, 2), Span(5, 7), Span(2047, 2048)]),
        ("bytes=0-1,,5-6,", [Span(0, 2), Span(5, 7)]),
        ("bytes=0-1,9999-", [Span(0, 2)]),
        ("bytes=0-99999999999999999999", [Span(0, 2048)]),
    ],
)
def test_satisfiable(header: str, expected: list[Span]) -> None:
    assert parse_range(header, SIZE) == tuple(expected)


@pytest.mark.parametrize(
    "header", ["500-0", "2048-", "5000-10000", "-0", "500-0,-0", "99999999999999999999-"]
)
def test_unsatisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as caught:
        parse_range("bytes=" + header, SIZE)
    assert (caught.value.status, caught.value.code, caught.value.size) == (416, "RANGE_INVALID", SIZE)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=--1",
        "bytes=٣-٤",
        "bytes= 1 - 2",
        "items=0-1",
        "bytes=0-1,x",
        "bytes=" + "9" * 5000 + "-",
        "bytes=" + ",".join(["0-0"] * 17),
        "bytes=" + "," * 100_000,
        "bytes=0-2047,0-2047",
    ],
)
def test_send_the_whole(header: str | None) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-1"])
def test_an_empty_content_is_always_sent_whole(header: str) -> None:
    assert parse_range(header, 0) is None


def test_as_many_ranges_as_allowed() -> None:
    header = "bytes=" + ",".join(f"{i}-{i}" for i in range(16))
    assert parse_range(header, SIZE) == tuple(Span(i, i + 1) for i in range(16))
    assert parse_range(header, SIZE, most=15) is None


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=60), st.integers(0, 5000))
@example("bytes=0-0", 1)
def test_spans_lie_within_the_content(header: str, size: int) -> None:
    try:
        spans = parse_range(header, size)
    except RangeNotSatisfiableError:
        return
    if spans is not None:
        assert spans
        assert all(0 <= span.start < span.stop <= size for span in spans)
        assert len(spans) == 1 or sum(span.length for span in spans) <= size
