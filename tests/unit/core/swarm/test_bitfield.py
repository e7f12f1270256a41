from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.bitfield import Bitfield, iter_bits

FIELDS = st.integers(1, 300).flatmap(
    lambda count: st.tuples(st.just(count), st.frozensets(st.integers(0, count - 1)))
)


@pytest.mark.slow
@given(FIELDS)
def test_it_behaves_as_a_set(field: tuple[int, frozenset[int]]) -> None:
    count, chunks = field
    bits = Bitfield(count, chunks)
    assert list(bits) == sorted(chunks) == list(iter_bits(bits.bits))
    assert len(bits) == len(chunks)
    assert bits.complete == (len(chunks) == count)
    assert [index in bits for index in range(-1, count + 2)] == [
        index in chunks for index in range(-1, count + 2)
    ]


@pytest.mark.slow
@given(FIELDS)
def test_the_wire_form_round_trips(field: tuple[int, frozenset[int]]) -> None:
    bits = Bitfield(*field)
    wire = bits.to_bytes()
    assert len(wire) == (bits.count + 7) // 8
    assert Bitfield.from_bytes(bits.count, wire) == bits
    assert Bitfield.from_bytes(bits.count, wire.rstrip(b"\0")) == bits


@pytest.mark.slow
@given(st.integers(1, 100), st.binary(max_size=20))
def test_any_bytes_are_read_or_refused(count: int, data: bytes) -> None:
    try:
        bits = Bitfield.from_bytes(count, data)
    except ValueError:
        assert len(data) > (count + 7) // 8 or int.from_bytes(data, "little") >> count
    else:
        assert all(0 <= index < count for index in bits)


@pytest.mark.slow
@given(FIELDS, st.integers(0, 310))
def test_prefix_is_the_first_missing_chunk(field: tuple[int, frozenset[int]], start: int) -> None:
    count, chunks = field
    start = min(start, count)
    expected = next((i for i in range(start, count) if i not in chunks), count)
    assert Bitfield(count, chunks).prefix(start) == expected


def test_chunk_zero_is_the_lowest_bit_of_the_first_byte() -> None:
    assert Bitfield(10, [0, 9]).to_bytes() == b"\x01\x02"


def test_adding_says_whether_it_is_new() -> None:
    bits = Bitfield(3)
    assert bits.add(1)
    assert not bits.add(1)
    assert len(bits) == 1
    for outside in (-1, 3):
        with pytest.raises(IndexError):
            bits.add(outside)


def test_many_are_joined_at_once() -> None:
    bits = Bitfield(8, [0, 2])
    bits.join(0b1110)
    assert (list(bits), len(bits), bits.complete) == ([0, 1, 2, 3], 4, False)
    bits.join(0xFF)
    assert bits.complete
    for beyond in (1 << 8, -1):
        with pytest.raises(ValueError, match="beyond chunk 7"):
            bits.join(beyond)
    assert bits == Bitfield.full(8)


def test_a_copy_is_independent() -> None:
    bits = Bitfield(3, [0])
    copy = bits.copy()
    copy.add(2)
    assert list(bits) == [0]
    assert bits != copy
    assert bits != {0}


def test_full() -> None:
    assert Bitfield.full(9).complete
    assert Bitfield.full(9).prefix() == 9
    assert repr(Bitfield(4, [1])) == "<Bitfield 1/4>"


@pytest.mark.parametrize("bits", [-1, 8])
def test_bits_beyond_the_count_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="beyond"):
        Bitfield.from_int(3, bits)


def test_it_is_mutable_and_so_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Bitfield(1))
