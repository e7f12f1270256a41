"""Hashing from a midstate: what ``hashlib`` can't do and libcrypto can.

``SHA256_CTX`` and ``SHA512_CTX`` (openssl/sha.h) are plain structs whose chaining value may be set, so
that any chunk can be hashed from its midstate, alone and in any order. The functions are deprecated since
OpenSSL 3.0 and still exported; LibreSSL and AWS-LC have the same layout. Nothing of this is taken on
trust: a known-answer test runs at load, and where it fails or no libcrypto is found the hasher says so
and the store verifies whole blobs instead.

Calls go through ``ctypes.CDLL``, which drops the GIL, and read the caller's buffer in place.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import mmap
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from p2p.core.swarm.midstates import INITIAL

Readable = bytes | bytearray | memoryview | mmap.mmap
"""Contiguous bytes that are read in place."""

BLOCK: Final = {"sha256": 64, "sha512": 128}
"""Bytes that the compression function takes at once; midstates exist only at multiples of it."""

_SONAMES: Final = ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so")


class LinkHasher:
    """SHA-256 and SHA-512 from any midstate. Thread-safe: every call has its own context.

    ``available``: whether it works here; ``source`` names the library then, and ``reason`` says in one
    sentence why not otherwise. The three verbs may only be called where it is available (RuntimeError).
    States and digests are big-endian words, as ``p2p.core.swarm.midstates`` has them. ``before`` is the
    number of bytes hashed already, a multiple of the block; ValueError otherwise.
    """

    def __init__(self, library: ctypes.CDLL | None, source: str, reason: str = "") -> None:
        self.source = source
        self.reason = reason
        self._functions: dict[str, _Function] = {}
        if library is None:
            return
        try:
            self._functions = {"sha256": _Function.sha256(library), "sha512": _Function.sha512(library)}
            failure = _self_test(self)
        except AttributeError:
            failure = "it doesn't export SHA256_Update and its kin"
        if failure:
            self._functions = {}
            self.reason = f"{source}: {failure}"

    @classmethod
    def load(cls, candidates: Iterable[str] | None = None) -> LinkHasher:
        """Take the first candidate (paths or sonames) that passes its self-test.

        By default: the libcrypto that this Python's own ``hashlib`` is linked with, then the usual
        sonames, then whatever the dynamic linker knows. Never fails: see ``available``.
        """
        reasons = []
        for name in _candidates() if candidates is None else candidates:
            try:
                library = ctypes.CDLL(name)
            except OSError as error:
                reasons.append(f"{name}: {error}")
                continue
            hasher = cls(library, name)
            if hasher.available:
                return hasher
            reasons.append(hasher.reason)
        return cls.unavailable("; ".join(reasons) or "no libcrypto was found")

    @classmethod
    def unavailable(cls, reason: str) -> LinkHasher:
        """Give one that can't, for the whole-blob fallback."""
        return cls(None, "", reason)

    @property
    def available(self) -> bool:
        """Whether the verbs work."""
        return bool(self._functions)

    def advance(self, algorithm: str, state: bytes, before: int, data: Readable) -> bytes:
        """Hash ``data``, whole blocks, on from ``state``; gives the next state."""
        function = self._function(algorithm)
        with _address(data) as (address, length):
            if length % function.block:
                raise ValueError(f"{length} bytes are no whole number of {algorithm} blocks")
            context = function.context(state, before)
            function.update(context, address, length)
        return function.state_of(context)

    def finish(self, algorithm: str, state: bytes, before: int, data: Readable) -> bytes:
        """Hash ``data`` on from ``state``, then the padding and the length; gives the digest."""
        function = self._function(algorithm)
        context = function.context(state, before)
        with _address(data) as (address, length):
            function.update(context, address, length)
        return function.final(context)

    def check(
        self, algorithm: str, state: bytes, before: int, data: Readable, expected: bytes, final: bool
    ) -> bool:
        """Whether ``data`` links ``state`` to ``expected``: the next state, or the digest if ``final``."""
        verb = self.finish if final else self.advance
        return verb(algorithm, state, before, data) == expected

    def _function(self, algorithm: str) -> _Function:
        if not self._functions:
            raise RuntimeError(f"chunks can't be hashed alone here: {self.reason}")
        return self._functions[algorithm]


class _Context256(ctypes.Structure):
    """SHA256_CTX: ``Nl`` and ``Nh`` are the halves of the length so far in bits."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("Nl", ctypes.c_uint32),
        ("Nh", ctypes.c_uint32),
        ("data", ctypes.c_uint32 * 16),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
    )


class _Context512(ctypes.Structure):
    """SHA512_CTX: the same with 64-bit words."""

    _fields_ = (
        ("h", ctypes.c_uint64 * 8),
        ("Nl", ctypes.c_uint64),
        ("Nh", ctypes.c_uint64),
        ("data", ctypes.c_uint64 * 16),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
    )


class _Function:
    """One hash function of a loaded library; AttributeError where it is not exported."""

    def __init__(self, library: ctypes.CDLL, name: str, kind: type[ctypes.Structure], bits: int) -> None:
        self.block = BLOCK[name.lower()]
        self._kind = kind
        self._words = struct.Struct(f">8{'I' if bits == 32 else 'Q'}")
        self._bits = bits
        self._update: Any = getattr(library, f"{name}_Update")
        self._update.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._update.restype = ctypes.c_int
        self._final: Any = getattr(library, f"{name}_Final")
        self._final.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._final.restype = ctypes.c_int

    @classmethod
    def sha256(cls, library: ctypes.CDLL) -> _Function:
        return cls(library, "SHA256", _Context256, 32)

    @classmethod
    def sha512(cls, library: ctypes.CDLL) -> _Function:
        return cls(library, "SHA512", _Context512, 64)

    def context(self, state: bytes, before: int) -> Any:
        if before < 0 or before % self.block:
            raise ValueError(f"{before} bytes are no whole number of blocks")
        context: Any = self._kind()
        context.h[:] = self._words.unpack(state)
        length = before * 8
        context.Nl = length & ((1 << self._bits) - 1)
        context.Nh = length >> self._bits
        context.md_len = self._words.size
        return context

    def update(self, context: Any, address: int, length: int) -> None:
        if self._update(ctypes.byref(context), address, length) != 1:
            raise RuntimeError("libcrypto refused to hash")

    def final(self, context: Any) -> bytes:
        digest = ctypes.create_string_buffer(self._words.size)
        if self._final(digest, ctypes.byref(context)) != 1:
            raise RuntimeError("libcrypto refused to hash")
        return digest.raw

    def state_of(self, context: Any) -> bytes:
        return self._words.pack(*context.h)


class _PyBuffer(ctypes.Structure):
    """``Py_buffer``, part of the stable ABI since Python 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer: Callable[..., int] = ctypes.pythonapi.PyObject_GetBuffer
_release_buffer: Callable[..., None] = ctypes.pythonapi.PyBuffer_Release


@contextmanager
def _address(data: Readable) -> Iterator[tuple[int, int]]:
    """Give address and length of a buffer, held in place meanwhile.

    The buffer protocol itself, since ``ctypes`` has no other way to read-only memory without a copy.
    BufferError where it is not contiguous.
    """
    view = _PyBuffer()
    _get_buffer(ctypes.py_object(data), ctypes.byref(view), 0)  # PyBUF_SIMPLE; raises on failure
    try:
        yield view.buf or 0, view.len
    finally:
        _release_buffer(ctypes.byref(view))


def _candidates() -> Iterator[str]:
    yield from _mapped()
    yield from _SONAMES
    if sys.platform == "linux" and (found := ctypes.util.find_library("crypto")) is not None:
        yield found


def _mapped() -> list[str]:
    """Paths of the libcryptos in this process: importing hashlib brought in the one it is linked with."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    paths = (line.split(maxsplit=5)[5] for line in maps.splitlines() if "/libcrypto" in line)
    return list(dict.fromkeys(paths))


def _self_test(hasher: LinkHasher) -> str:
    """Compare with hashlib, from several midstates; gives what failed, empty if nothing."""
    for algorithm, block in BLOCK.items():
        message = bytes(range(251)) * 8
        expected = hashlib.new(algorithm, message).digest()
        for cut in (0, block, 9 * block):
            state = hasher.advance(algorithm, INITIAL[algorithm], 0, message[:cut])
            if hasher.finish(algorithm, state, cut, message[cut:]) != expected:
                return f"its {algorithm} from a midstate at byte {cut} is wrong"
        # The padding is data like any other to the compression function, so that advancing over it must
        # give the digest as well: this proves the state's words, and beyond 4 GiB both length halves.
        for before in (0, block << 3, (1 << 33) + block, 5 << 40):
            length = before + len(message)
            words = 8 if algorithm == "sha256" else 16
            zeros = -(length + 1 + words) % block
            padded = message + b"\x80" + bytes(zeros) + (length * 8).to_bytes(words, "big")
            if hasher.advance(algorithm, expected, before, padded) != hasher.finish(
                algorithm, expected, before, message
            ):
                return f"its {algorithm} is wrong at byte {length}"
    return ""
