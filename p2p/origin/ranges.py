"""Ranges of a GET, as the client side sees them: what to ask, and what the answer must say (RFC 9110 §14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_CONTENT_RANGE: Final = re.compile(r"bytes\s+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_UNSATISFIED: Final = re.compile(r"bytes\s+\*/([0-9]{1,19})")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[start, stop)`` of a content; ``stop`` None for the end."""

    start: int
    stop: int | None = None

    def header(self) -> str | None:
        """The Range header's value; None where the span is the whole."""
        if self.stop is None:
            return f"bytes={self.start}-" if self.start else None
        return f"bytes={self.start}-{self.stop - 1}"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Bytes ``[start, stop)`` of ``size``."""

    start: int
    stop: int
    size: int


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read ``bytes a-b/size``; None if it is absent, malformed, of unknown size or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch(value.strip()) if value is not None else None
    if match is None:
        return None
    first, last, size = map(int, match.groups())
    if not first <= last < size:
        return None
    return ContentRange(first, last + 1, size)


def parse_unsatisfied(value: str | None) -> int | None:
    """The size that a 416's ``bytes */size`` states; None if absent or malformed."""
    match = _UNSATISFIED.fullmatch(value.strip()) if value is not None else None
    return int(match.group(1)) if match else None


def parse_length(value: str | None) -> int | None:
    """A Content-Length; None if absent or malformed."""
    if value is None or not value.isascii() or _LENGTH.fullmatch(value) is None:
        return None
    return int(value)


def range_fault(asked: Span, got: ContentRange | None) -> str:
    """What is wrong with a 206 for ``asked``, as the cause of an error; "" if nothing."""
    if got is None:
        return "answered a range without a usable Content-Range"
    stop = got.size if asked.stop is None else min(asked.stop, got.size)
    if (got.start, got.stop) != (asked.start, stop):
        return f"was asked for bytes {asked.start} to {stop} and answered {got.start} to {got.stop}"
    return ""
