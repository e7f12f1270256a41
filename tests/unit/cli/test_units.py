import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.cli.units import format_size, parse_duration, parse_rate, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512), ("64MiB", 64 << 20), ("10 GB", 10**10), ("1.5T", 3 << 39), ("1k", 1024), ("2kB", 2000),
        ("0", 0), ("7 b", 7), ("10GiB", 10 << 30),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1 PiBB", "1e3", "1.2.3", "GiB", "1 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("30s", 30.0), ("250ms", 0.25), ("1h30m", 5400.0), ("7d", 604800.0), ("1m 5s", 65)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 y", "5s!", "1..5s", "s5"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_shares() -> None:
    assert parse_share("5%") == 0.05
    assert parse_share("0.25") == 0.25
    with pytest.raises(ValueError, match="is not a share"):
        parse_share("many")


@given(st.integers(0, 1 << 62))
def test_a_size_written_for_people_is_read_back_nearly(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)


def test_formats() -> None:
    assert [format_size(n) for n in (0, 742, 1536, 210 << 20, 5 << 40)] == [
        "0 B",
        "742 B",
        "1.5 KiB",
        "210 MiB",
        "5.0 TiB",
    ]


@pytest.mark.parametrize(
    ("text", "rate"), [("200MB", 200_000_000), ("200MB/s", 200_000_000), ("1.5 MiB / s", 3 << 19), ("0", 0)]
)
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["MB/s", "1MB/h", "1/s/s", "1Mbit/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_rate(text)
