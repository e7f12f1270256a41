"""The ``Range`` header of a blob's GET, as spans of bytes (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from p2p.core.oci.error import RegistryError

_SPEC = re.compile(r"([0-9]{0,20})-([0-9]{0,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[start, stop)``, never empty."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Bytes."""
        return self.stop - self.start


class RangeNotSatisfiableError(RegistryError):
    """No range of the request lies within the content: 416; ``size`` is the content's, in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("RANGE_INVALID", f"no requested range lies within the content's {size} bytes")
        self.size = size


def parse_range(header: str | None, size: int, *, most: int = 16) -> tuple[Span, ...] | None:
    """Give the spans that a ``Range`` header asks of ``size`` bytes, in the order of the header.

    None means that the whole is to be sent with 200: no header, another unit, a malformed one, more than
    ``most`` ranges, several that add up to more than the whole, or an empty content (clients that put a
    range on every request must be able to fetch the empty blob, and no 206 can describe it).

    Raises RangeNotSatisfiableError when the header is well formed and nothing in it can be satisfied.
    ``500-0`` counts as that and not as malformed: OCI's conformance suite expects 416.
    """
    if header is None or size == 0:
        return None
    unit, equals, text = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    items = [item.strip(" \t") for item in text.split(",", most)]
    specs = [item for item in items if item]  # RFC 9110, 5.6.1: empty list elements are ignored
    if not specs or len(items) > most:
        return None
    spans: list[Span] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-":
            return None
        span = _span(match[1], match[2], size)
        if span is not None:
            spans.append(span)
    if not spans:
        raise RangeNotSatisfiableError(size)
    if len(spans) > 1 and sum(span.length for span in spans) > size:
        return None  # RFC 9110, 14.2: overlapping ranges are an attack or a mistake; the whole is cheaper
    return tuple(spans)


def _span(first: str, last: str, size: int) -> Span | None:
    """Resolve one ``first-last``; None where it can't be satisfied."""
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    return Span(start, stop) if start < stop else None
