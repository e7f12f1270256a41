from __future__ import annotations

import pytest

from p2p.discovery.dht.crypto import AesGcm, SigningKey, verify


def test_sealed_and_opened() -> None:
    aead = AesGcm()
    sealed = aead.seal(b"k" * 32, b"n" * 12, b"words", b"header")
    assert len(sealed) == 5 + 16
    assert aead.open(b"k" * 32, b"n" * 12, memoryview(sealed), b"header") == b"words"
    assert aead.open(b"k" * 32, b"n" * 12, sealed, b"other") is None
    assert aead.open(b"x" * 32, b"n" * 12, sealed, b"header") is None


def test_signatures() -> None:
    key = SigningKey(bytes(range(32)))
    signature = key.sign(b"words")
    assert verify(key.public, signature, b"words")
    assert not verify(key.public, signature, b"other")
    assert not verify(SigningKey(b"2" * 32).public, signature, b"words")


@pytest.mark.parametrize("public", [b"", b"\xff" * 32, bytes(32)])
def test_keys_that_are_none_verify_nothing(public: bytes) -> None:
    assert not verify(public, bytes(64), b"words")
