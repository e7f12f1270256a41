"""How much a message may claim: a scan of its headers before anything is built from it.

A msgpack array of five bytes can claim four thousand million elements, and decoders allocate what is
claimed; nested, the claims multiply. So the bytes are walked once, without building anything, against a
budget for elements, depth and text. What passes costs its decoder no more memory than the budget.
Format: the msgpack specification, "Formats".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one message: bytes in all, elements of all arrays together, nesting, bytes of one text."""

    message: int = 1 << 20
    elements: int = 1 << 16
    depth: int = 6
    text: int = 1 << 13


DEFAULT: Final = Bounds()

# For every first byte: bytes to skip with it, or what its length field needs to be read.
_ARRAY, _TEXT, _BINARY, _REFUSED = -1, -2, -3, -4
_STEP: Final[list[int]] = [_REFUSED] * 256
_STEP[0x00:0x80] = [1] * 128  # positive fixint
_STEP[0x90:0xA0] = [_ARRAY] * 16  # fixarray
_STEP[0xA0:0xC0] = range(1, 33)  # fixstr
_STEP[0xE0:0x100] = [1] * 32  # negative fixint
for _byte in (0xC0, 0xC2, 0xC3):  # nil, false, true
    _STEP[_byte] = 1
for _byte, _skip in ((0xCC, 2), (0xCD, 3), (0xCE, 5), (0xCF, 9)):  # unsigned
    _STEP[_byte] = _skip
    _STEP[_byte + 4] = _skip  # signed
_STEP[0xCA], _STEP[0xCB] = 5, 9  # float
_STEP[0xC4:0xC7] = [_BINARY] * 3
_STEP[0xD9:0xDC] = [_TEXT] * 3
_STEP[0xDC:0xDE] = [_ARRAY] * 2

_WIDTH: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}
"""Bytes of the length field behind a first byte."""


def scan(data: bytes | bytearray | memoryview, bounds: Bounds = DEFAULT) -> None:
    """Walk one message; ValueError, naming the limit, where it is not one value within ``bounds``.

    Maps and extension types are refused: no message of ours has them.
    """
    size = len(data)
    if size > bounds.message:
        raise ValueError(f"{size} bytes, the limit is {bounds.message}")
    position, claimed = 0, 1
    pending = [1]
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        if position >= size:
            raise ValueError(f"cut off at byte {size}")
        first = data[position]
        step = _STEP[first]
        if step > 0:
            position += step
            continue
        if step == _REFUSED:
            raise ValueError(f"a map or an extension type (0x{first:02x}) at byte {position}")
        length, position = _length(data, first, position)
        if step != _ARRAY:
            if step == _TEXT and length > bounds.text:
                raise ValueError(f"a text of {length} bytes, the limit is {bounds.text}")
            position += length
            continue
        claimed += length
        if claimed > bounds.elements:
            raise ValueError(f"more than {bounds.elements} elements")
        if len(pending) > bounds.depth:
            raise ValueError(f"nested deeper than {bounds.depth}")
        pending.append(length)
    if position != size:
        raise ValueError(
            f"cut off at byte {size}" if position > size else f"{size - position} bytes behind its end"
        )


def _length(data: bytes | bytearray | memoryview, first: int, position: int) -> tuple[int, int]:
    """Give the claimed length and the position behind the header."""
    width = _WIDTH.get(first)
    if width is None:
        return first & 0x0F, position + 1
    end = position + 1 + width
    return int.from_bytes(data[position + 1 : end], "big"), end
