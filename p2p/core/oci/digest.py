"""Digests: the name of content, and the only thing that a path in the store is ever built from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from p2p.core.oci.error import RegistryError

_HEX: Final = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "sha512": re.compile(r"[0-9a-f]{128}"),
}

ALGORITHMS: Final = tuple(_HEX)
"""The registered algorithms of the OCI image-spec that we take."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest that is well-formed, however it was made: RegistryError (DIGEST_INVALID) otherwise.

    ``algorithm`` is ``sha256`` or ``sha512``, ``hex`` exactly as many lower-case hex digits as it has.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        pattern = _HEX.get(self.algorithm)
        if pattern is None:
            raise RegistryError.digest_invalid(str(self), "is of an algorithm that we don't know")
        if pattern.fullmatch(self.hex) is None:
            raise RegistryError.digest_invalid(str(self), "is malformed")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``."""
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise RegistryError.digest_invalid(text, "is malformed")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """Hash ``data``."""
        if algorithm not in _HEX:
            raise RegistryError.digest_invalid(f"{algorithm}:", "is of an algorithm that we don't know")
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def from_bytes(cls, algorithm: str, raw: bytes) -> Digest:
        """Take a raw hash value, big-endian as hash functions give it."""
        return cls(algorithm, raw.hex())

    @property
    def raw(self) -> bytes:
        """The hash value: 32 bytes for sha256, 64 for sha512."""
        return bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
