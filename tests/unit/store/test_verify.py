from __future__ import annotations

import hashlib
import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.midstates import INITIAL
from p2p.store.verify import BLOCK, LinkHasher

HASHER = LinkHasher.load()
ALGORITHMS = st.sampled_from(sorted(BLOCK))


def padding(algorithm: str, length: int) -> bytes:
    words = 8 if algorithm == "sha256" else 16
    zeros = -(length + 1 + words) % BLOCK[algorithm]
    return b"\x80" + bytes(zeros) + (length * 8).to_bytes(words, "big")


def test_a_libcrypto_is_found_here() -> None:
    assert HASHER.available, HASHER.reason
    assert "libcrypto" in HASHER.source
    assert HASHER.reason == ""


@pytest.mark.slow
@given(ALGORITHMS, st.binary(max_size=2000), st.data())
def test_any_cut_gives_the_digest(algorithm: str, data: bytes, draw: st.DataObject) -> None:
    block = BLOCK[algorithm]
    cut = draw.draw(st.integers(0, len(data) // block)) * block
    state = HASHER.advance(algorithm, INITIAL[algorithm], 0, data[:cut])
    digest = hashlib.new(algorithm, data).digest()
    assert HASHER.finish(algorithm, state, cut, data[cut:]) == digest
    assert HASHER.check(algorithm, state, cut, data[cut:], digest, True)
    assert not HASHER.check(algorithm, state, cut, data[cut:] + b"x", digest, True)


@pytest.mark.slow
@given(ALGORITHMS, st.integers(0, 1 << 48), st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_lengths_beyond_four_gibibytes(algorithm: str, blocks: int, tail: bytes, state: bytes) -> None:
    state = state[: len(INITIAL[algorithm])]
    before = blocks * BLOCK[algorithm]
    whole = tail + padding(algorithm, before + len(tail))
    if (before + len(tail)) * 8 >= 1 << 64:
        return
    assert HASHER.finish(algorithm, state, before, tail) == HASHER.advance(algorithm, state, before, whole)


def test_every_kind_of_buffer_is_read_in_place() -> None:
    data = bytes(range(256)) * 16
    expected = hashlib.sha256(data).digest()
    with mmap.mmap(-1, len(data)) as mapped:
        mapped[:] = data
        for buffer in (
            data,
            bytearray(data),
            memoryview(data),
            memoryview(bytearray(b"xy" + data))[2:],
            mapped,
            memoryview(data).cast("I"),
        ):
            assert HASHER.finish("sha256", INITIAL["sha256"], 0, buffer) == expected


def test_the_buffer_is_let_go() -> None:
    buffer = bytearray(64)
    HASHER.advance("sha256", INITIAL["sha256"], 0, buffer)
    buffer.extend(b"may grow: nobody exports it")
    with pytest.raises(ValueError, match="whole number"):
        HASHER.advance("sha256", INITIAL["sha256"], 0, buffer)
    buffer.extend(b"still")


@pytest.mark.parametrize("algorithm", sorted(BLOCK))
def test_misaligned_calls_are_refused(algorithm: str) -> None:
    state = INITIAL[algorithm]
    with pytest.raises(ValueError, match="whole number"):
        HASHER.advance(algorithm, state, 0, b"x")
    with pytest.raises(ValueError, match="whole number"):
        HASHER.finish(algorithm, state, 1, b"x")
    with pytest.raises(ValueError, match="whole number"):
        HASHER.finish(algorithm, state, -BLOCK[algorithm], b"x")


def test_a_strided_view_is_refused() -> None:
    with pytest.raises(BufferError):
        HASHER.advance("sha256", INITIAL["sha256"], 0, memoryview(bytes(128))[::2])


def test_without_a_library_it_says_why() -> None:
    hasher = LinkHasher.load(["libnosuchcrypto.so.9"])
    assert not hasher.available
    assert "libnosuchcrypto.so.9" in hasher.reason
    with pytest.raises(RuntimeError, match="libnosuchcrypto"):
        hasher.advance("sha256", INITIAL["sha256"], 0, b"")


def test_a_library_without_the_functions_is_refused() -> None:
    hasher = LinkHasher.load(["libc.so.6"])
    assert not hasher.available
    assert "doesn't export" in hasher.reason


def test_a_library_that_hashes_wrongly_is_refused() -> None:
    class Liar:
        """Stands where a libcrypto of another layout would: takes everything, computes nothing."""

        def __getattr__(self, name: str) -> object:
            if not name.startswith("SHA"):
                raise AttributeError(name)

            def function(*_: object) -> int:
                return 1

            return function

    hasher = LinkHasher(Liar(), "libliar")  # type: ignore[arg-type]  # a test double of ctypes.CDLL
    assert not hasher.available
    assert "libliar: its sha256" in hasher.reason
