"""Responses to ranges: 200, 206 with one part or several, or 416 (RFC 9110, sections 14 and 15.3.7)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence

from p2p.core.oci.range import RangeNotSatisfiableError, Span, parse_range
from p2p.net.answers import error_response
from p2p.net.message import FileSpan, Header, Request, Response, Spans
from p2p.net.spans import aclose

Parts = Callable[[int, int], AsyncIterator[FileSpan | bytes]]
"""``parts(start, stop)`` gives the bytes ``[start, stop)`` of the content, in order."""

_ACCEPT: Header = (b"Accept-Ranges", b"bytes")


def ranged_response(
    request: Request,
    size: int,
    headers: Sequence[Header],
    parts: Parts,
    close: Callable[[], None] | None = None,
    *,
    content_type: str,
    boundary: str | None = None,
) -> Response:
    """Answer a GET or HEAD of a content of ``size`` bytes with what its Range header asks for.

    ``headers`` go with every answer (an ``ETag`` there is what If-Range is compared with). ``close`` is
    called once when the content is no longer needed, at once for a 416. ``boundary`` separates several
    parts; without it, it is derived from the ranges and the headers, so that equal requests get equal
    answers.
    """
    common = (*headers, _ACCEPT)
    try:
        spans = parse_range(range_header(request, headers), size)
    except RangeNotSatisfiableError as error:
        if close is not None:
            close()
        refused = error_response(error)
        return Response(416, (*common, *refused.headers, _content_range("*", size)), refused.body)
    if spans is None:
        body = Spans(size, lambda: parts(0, size), close)
        return Response(200, (*common, _content_type(content_type)), body)
    if len(spans) == 1:
        span = spans[0]
        body = Spans(span.length, lambda: parts(span.start, span.stop), close)
        return Response(206, (*common, _content_type(content_type), _span_range(span, size)), body)
    boundary = boundary or _derive_boundary(spans, size, headers)
    preambles = [_preamble(span, size, content_type, boundary) for span in spans]
    epilogue = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(span.length for span in spans) + sum(map(len, preambles)) + len(epilogue)
    body = Spans(length, lambda: _byteranges(spans, preambles, epilogue, parts), close)
    return Response(206, (*common, _content_type(f"multipart/byteranges; boundary={boundary}")), body)


def range_header(request: Request, headers: Sequence[Header]) -> str | None:
    """Give the Range header where it counts: on GET alone, and only if an If-Range matches.

    ``headers`` are those of the answer.
    """
    if request.method != "GET":
        return None
    condition = request.header(b"if-range")
    if condition is not None:
        tags = [value.decode("latin-1") for name, value in headers if name.lower() == b"etag"]
        if condition not in tags or condition.startswith("W/"):
            return None
    return request.header(b"range")


async def _byteranges(
    spans: Sequence[Span], preambles: Sequence[bytes], epilogue: bytes, parts: Parts
) -> AsyncIterator[FileSpan | bytes]:
    for span, preamble in zip(spans, preambles, strict=True):
        yield preamble
        iterator = parts(span.start, span.stop)
        try:
            async for part in iterator:
                yield part
        finally:
            await aclose(iterator)
    yield epilogue


def _preamble(span: Span, size: int, content_type: str, boundary: str) -> bytes:
    return (
        f"\r\n--{boundary}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Range: bytes {span.start}-{span.stop - 1}/{size}\r\n\r\n"
    ).encode("ascii")


def _derive_boundary(spans: Sequence[Span], size: int, headers: Sequence[Header]) -> str:
    return hashlib.sha256(repr((spans, size, tuple(headers))).encode()).hexdigest()[:40]


def _span_range(span: Span, size: int) -> Header:
    return _content_range(f"{span.start}-{span.stop - 1}", size)


def _content_range(text: str, size: int) -> Header:
    return (b"Content-Range", f"bytes {text}/{size}".encode("ascii"))


def _content_type(text: str) -> Header:
    return (b"Content-Type", text.encode("ascii"))
