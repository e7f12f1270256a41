from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.replay import ReplayWindow
from p2p.core.dht.sealing import (
    HEADER,
    MAX_DATAGRAM,
    MAX_MESSAGE,
    OVERHEAD,
    Dropped,
    Sealer,
    blob_key,
    key_id,
)
from p2p.discovery.dht.crypto import AesGcm

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
WALL = 1_700_000_000.25


class CountingAead(AesGcm):
    opened = 0

    def open(self, key: bytes, nonce: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes | None:
        self.opened += 1
        return super().open(key, nonce, sealed, associated)


def sealer(*keys: bytes, aead: AesGcm | None = None) -> Sealer:
    return Sealer(keys, aead=aead or AesGcm(), entropy=os.urandom, replays=ReplayWindow())


@given(st.binary(max_size=MAX_MESSAGE))
def test_round_trip(message: bytes) -> None:
    datagram = sealer(NEW).seal(message, WALL)
    assert len(datagram) == len(message) + OVERHEAD
    assert sealer(NEW).open(memoryview(datagram), WALL + 29) == message


def test_a_ring_opens_under_both_and_seals_under_the_first() -> None:
    old, both, new = sealer(OLD), sealer(NEW, OLD), sealer(NEW)
    assert both.open(memoryview(old.seal(b"m", WALL)), WALL) == b"m"
    assert new.open(memoryview(both.seal(b"m", WALL)), WALL) == b"m"
    assert old.open(memoryview(both.seal(b"m", WALL)), WALL) is Dropped.FOREIGN


@pytest.mark.parametrize("keys", [(), (OLD, NEW, OTHER), (b"short",)])
def test_rings_that_are_none(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError):
        sealer(*keys)


def test_too_long_to_seal() -> None:
    with pytest.raises(ValueError):
        sealer(NEW).seal(bytes(MAX_MESSAGE + 1), WALL)


def test_what_is_dropped_and_why() -> None:
    one = sealer(NEW)
    good = one.seal(b"message", WALL)
    cases = {
        Dropped.OVERSIZED: good + bytes(MAX_DATAGRAM),
        Dropped.SHORT: good[: OVERHEAD - 1],
        Dropped.VERSION: b"\2" + good[1:],
        Dropped.FOREIGN: sealer(OTHER).seal(b"message", WALL),
        Dropped.STALE: one.seal(b"message", WALL - 31),
    }
    aead = CountingAead()
    other = sealer(NEW, aead=aead)
    for reason, datagram in cases.items():
        assert other.open(memoryview(datagram), WALL) is reason
    assert aead.opened == 0, "the cheap checks come first"
    assert other.open(memoryview(good), WALL) == b"message"
    assert other.open(memoryview(good), WALL) is Dropped.REPLAYED
    assert other.open(memoryview(one.seal(b"message", WALL + 31)), WALL) is Dropped.STALE


@given(st.integers(0, HEADER + 7 + 15), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    datagram = bytearray(sealer(NEW).seal(b"message", WALL))
    datagram[position] ^= change
    assert isinstance(sealer(NEW).open(memoryview(datagram), WALL), Dropped)


def test_a_forged_copy_does_not_use_up_the_true_one() -> None:
    one = sealer(NEW)
    good = one.seal(b"message", WALL)
    assert one.open(memoryview(good[:-1] + bytes([good[-1] ^ 1])), WALL) is Dropped.FORGED
    assert one.open(memoryview(good), WALL) == b"message"


def test_names_that_tell_nothing() -> None:
    assert key_id(NEW) != key_id(OLD)
    assert key_id(NEW) not in NEW
    assert len(blob_key(NEW, "sha256:00")) == 20
    assert blob_key(NEW, "sha256:00") != blob_key(OLD, "sha256:00")
