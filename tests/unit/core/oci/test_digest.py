"""Digests are well-formed or not made at all."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.digest import ALGORITHMS, Digest
from p2p.core.oci.error import RegistryError

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_known_answer() -> None:
    assert str(Digest.of(b"")) == f"sha256:{EMPTY}"
    assert Digest.of(b"", "sha512").hex == hashlib.sha512(b"").hexdigest()


@given(st.binary(), st.sampled_from(ALGORITHMS))
def test_round_trips(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert Digest.from_bytes(algorithm, digest.raw) == digest
    assert Digest.of(memoryview(bytearray(data)), algorithm) == digest
    assert len({digest, Digest.parse(str(digest))}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        f":{EMPTY}",
        EMPTY,
        f"sha256:{EMPTY[1:]}",
        f"sha256:{EMPTY}0",
        f"sha256:{EMPTY.upper()}",
        f"sha256:{EMPTY[:-1]}g",
        f"sha256:{EMPTY}\n",
        f"SHA256:{EMPTY}",
        f" sha256:{EMPTY}",
        f"sha512:{EMPTY}",
        f"sha384:{EMPTY}",
        f"md5:{EMPTY[:32]}",
        f"../sha256:{EMPTY}",
        f"sha256/..:{EMPTY}",
        f"sha256:../{EMPTY[3:]}",
        f"sha256:{EMPTY[:-1]}\0",
        "sha256:" + "\u0663" * 64,
        "sha256:" + "a" * 100_000,
    ],
)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        Digest.parse(text)
    assert (caught.value.code, caught.value.status) == ("DIGEST_INVALID", 400)
    assert len(str(caught.value)) < 1000


@given(st.text())
def test_nothing_but_a_registry_error(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except RegistryError:
        return
    assert str(digest) == text


def test_no_way_around_the_check() -> None:
    with pytest.raises(RegistryError):
        Digest("sha256", "../../etc/passwd")
    with pytest.raises(RegistryError):
        Digest.of(b"", "md5")
    with pytest.raises(RegistryError):
        Digest.from_bytes("sha256", b"short")


def test_order_is_by_text() -> None:
    low, high = Digest("sha256", "0" * 64), Digest("sha256", "f" * 64)
    assert sorted([Digest("sha512", "0" * 128), high, low]) == [low, high, Digest("sha512", "0" * 128)]
