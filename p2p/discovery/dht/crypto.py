"""What the DHT's core is handed: AES-256-GCM and Ed25519, from ``cryptography``."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class AesGcm:
    """``p2p.core.dht.sealing.Aead``."""

    def seal(self, key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        """Give the ciphertext and its tag."""
        return AESGCM(key).encrypt(nonce, plain, associated)

    def open(self, key: bytes, nonce: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes | None:
        """Give the plain text, None where the tag does not hold."""
        try:
            return AESGCM(key).decrypt(nonce, sealed, associated)
        except InvalidTag:
            return None


class SigningKey:
    """A node's Ed25519 key, from the 32 bytes that it is kept as."""

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Give a signature of 64 bytes."""
        return self._key.sign(data)


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the key's owner signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
