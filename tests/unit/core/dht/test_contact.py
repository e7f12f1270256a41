from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.contact import Endpoint, distance, id_of, is_usable

IDS = st.binary(min_size=20, max_size=20)


def test_an_id_is_of_its_key() -> None:
    assert id_of(b"p" * 32) == hashlib.sha256(b"p" * 32).digest()[:20]


@given(IDS, IDS, IDS)
def test_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    assert distance(a, a) == 0
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@pytest.mark.parametrize(
    ("ip", "port", "usable"),
    [
        (b"\x7f\0\0\1", 5001, True),
        (b"\x0a\0\0\1", 0, False),
        (b"\x0a\0\0\1", 65536, False),
        (bytes(4), 1, False),
        (b"\xe0\0\0\1", 1, False),
        (b"\xff" * 4, 1, False),
        (bytes(15) + b"\1", 1, True),
        (bytes(16), 1, False),
        (b"\xff\x02" + bytes(14), 1, False),
        (b"", 1, False),
        (b"12345", 1, False),
    ],
)
def test_where_datagrams_may_go(ip: bytes, port: int, usable: bool) -> None:
    assert is_usable(Endpoint(ip, port)) is usable
