"""Sizes and durations as people write them, and back."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SIZES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 1 << 10,
    "m": 1 << 20,
    "g": 1 << 30,
    "t": 1 << 40,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Read bytes: ``512``, ``64MiB``, ``10 GB``, ``1.5T``. ValueError otherwise.

    K, M, G and T alone are powers of 1024, as ``KiB`` and so on; ``kB``, ``MB`` are powers of 1000.
    """
    match = _SIZE.fullmatch(text)
    unit = _SIZES.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not a size, such as 512, 64MiB or 10GB")
    return round(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def parse_rate(text: str) -> int:
    """Read bytes a second: a size, with or without ``/s`` behind it. ValueError otherwise."""
    return parse_size(re.sub(r"\s*/\s*s\s*$", "", text))


def parse_duration(text: str) -> float:
    """Read seconds: ``30``, ``250ms``, ``1h30m``, ``7d``. ValueError otherwise."""
    compact = text.replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration, such as 30s, 250ms or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_share(text: str) -> float:
    """Read a share: ``0.05`` or ``5%``. ValueError otherwise."""
    try:
        return float(text.rstrip("% ")) / (100 if text.rstrip().endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r} is not a share, such as 0.05 or 5%") from None


def format_size(count: float) -> str:
    """Write bytes with three digits or so: ``742 B``, ``1.5 MiB``, ``210 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
