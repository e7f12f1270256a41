"""Answers as bytes, and those that the server makes itself: refusals, and errors of handlers."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime

from p2p.core.oci.error import BODY_TYPE, RegistryError
from p2p.net.errors import BodyError, BodyTooLargeError, ImpossibleResponseError
from p2p.net.message import Content, Header, Response

TLS_ON_PLAIN_PORT = "This port speaks plain HTTP and got a TLS handshake. Use http://, not https://."

BODILESS = frozenset({204, 304})
"""Statuses of answers that never have a body."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii") for status, phrase in _PHRASES.items()
}
_UNEXPECTED = "the node failed to answer this request; its log says why"


class Dates:
    """The Date header, formatted once a second."""

    __slots__ = ("_header", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._header: Header = (b"Date", b"")

    def header(self) -> Header:
        """Give the header for now (RFC 9110, 6.6.1)."""
        now = datetime.now(UTC)
        second = now.second + 60 * now.minute
        if second != self._second:
            self._second = second
            self._header = (b"Date", format_datetime(now, usegmt=True).encode("ascii"))
        return self._header


def render_head(status: int, headers: Iterable[Header], *, date: Header, length: int, close: bool) -> bytes:
    """Render status line and headers, with the empty line.

    Framing headers among ``headers`` are dropped: the server alone says how long a body is (204 and 304
    have none, and no length). Raises ImpossibleResponseError for what would not be HTTP, so that no value
    that came from outside can end a header early.
    """
    if not 200 <= status <= 999:
        raise ImpossibleResponseError("response", f"has status {status}")
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        if name.lower() not in _OURS:
            if _TOKEN.fullmatch(name) is None:
                raise ImpossibleResponseError("response", f"has a header named {name!r}")
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"%b: %b\r\n" % date)
    if status not in BODILESS:
        lines.append(b"Content-Length: %d\r\n" % length)
    if close:
        lines.append(b"Connection: close\r\n")
    head = b"".join(lines)
    if not head.count(b"\r") == head.count(b"\n") == len(lines) or b"\0" in head:
        raise ImpossibleResponseError("response", "has a header with a line end or NUL in its value")
    return head + b"\r\n"


def refusal(status: int, text: str) -> bytes:
    """Render a whole answer with a text body that ends the connection, without any protocol state."""
    body = text.encode("utf-8", "replace") + b"\n"
    head = (
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def unwrap(error: Exception) -> Exception:
    """Take a lone exception out of the groups that nurseries wrap around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def error_response(error: Exception) -> Response:
    """Answer for what a handler raised, never with its insides.

    RegistryErrors render themselves; a body that is too large is 413, a broken one 400 and the end of the
    connection; anything else is 500.
    """
    match error:
        case RegistryError():
            return _json(error)
        case BodyTooLargeError():
            return _json(RegistryError("SIZE_INVALID", str(error), status=413), close=True)
        case BodyError():
            return _json(RegistryError("UNSUPPORTED", str(error), status=400), close=True)
        case _:
            return _json(RegistryError("UNKNOWN", _UNEXPECTED, status=500))


def _json(error: RegistryError, *, close: bool = False) -> Response:
    headers = ((b"Content-Type", BODY_TYPE.encode("ascii")),)
    return Response(error.status, headers, Content(error.body()), close)
