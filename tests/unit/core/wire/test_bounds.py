"""The scan agrees with msgpack on what is well-formed, and costs nothing on what is not."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.wire.bounds import DEFAULT, Bounds, scan

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20),
    max_leaves=20,
)
WIDE = Bounds(depth=500)


@pytest.mark.slow
@given(VALUES)
def test_whatever_is_well_formed_passes(value: Any) -> None:
    scan(msgpack.packb(value), WIDE)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_every_width_of_length(length: int) -> None:
    wide = Bounds(elements=1 << 17, text=1 << 17)
    for value in ("x" * length, b"x" * length, [None] * length):
        scan(msgpack.packb(value), wide)
        with pytest.raises(ValueError, match="cut off"):
            scan(msgpack.packb([value, None])[:-1], wide)


@given(st.binary(max_size=64))
def test_what_passes_is_one_value(data: bytes) -> None:
    try:
        scan(data)
    except ValueError:
        return
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    unpacker.skip()
    assert unpacker.tell() == len(data)


@pytest.mark.slow
@given(VALUES, st.data())
def test_any_cut_is_refused(value: Any, data: st.DataObject) -> None:
    packed = msgpack.packb(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ValueError, match="cut off"):
        scan(packed[:cut], WIDE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut off"),
        (b"\xc0\xc0", "behind its end"),
        (b"\xc1", "extension"),
        (b"\x80", "map"),
        (b"\xde\x00\x00", "map"),
        (b"\xdf\xff\xff\xff\xff", "map"),
        (b"\xd4\x00\x00", "extension"),
        (b"\xc7\xff\x00", "extension"),
        (msgpack.packb(msgpack.Timestamp(1)), "extension"),
        (b"\xdd\xff\xff\xff\xff", "elements"),
        (b"\xdc\xff\xff\xdc\xff\xff", "elements"),
        (b"\xdb\xff\xff\xff\xff", "text"),
        (b"\xc6\xff\xff\xff\xff", "cut off"),
        (b"\xdd\x00", "cut off"),
        (b"\x91" * 7 + b"\xc0", "nested"),
        (b"\x91" * 1000, "nested"),
        (b"\xc0" * (DEFAULT.message + 1), "the limit is"),
    ],
)
def test_what_is_refused_and_why(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        scan(data)
    with pytest.raises(ValueError, match=why):
        scan(memoryview(bytearray(data)))


def test_the_depth_that_is_allowed() -> None:
    scan(b"\x91" * 6 + b"\xc0")


def test_claims_allocate_nothing() -> None:
    bombs = [b"\xdd\x00\x00\xff\xff" * 200_000, b"\xdd\x7f\xff\xff\xff" * 10, b"\x90" * (1 << 20)]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(ValueError, match=r"elements|nested|behind"):
                scan(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
