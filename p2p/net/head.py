"""The head of a request: refuse what two parsers could read in two ways, and turn the rest into values.

h11 parses leniently (RFC 9112 allows it to); in front of other registries and behind other proxies that
is how requests are smuggled. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.net.errors import RefusedRequestError
from p2p.net.message import Header, Request, RequestBody

if TYPE_CHECKING:
    import h11

TLS_HANDSHAKE = 0x16
"""First byte of a TLS record of type handshake (RFC 8446, 5.1): a ClientHello on a plain port."""

_LENGTH_DIGITS = 18


def vet(event: h11.Request, head: bytes, header_bytes: int) -> None:
    """Refuse a request whose head is ambiguous or too large; ``head`` are its exact bytes.

    Raises RefusedRequestError.
    """
    if len(head) > header_bytes:
        raise RefusedRequestError(f"its head is larger than {header_bytes} bytes", status=431)
    if b"\n " in head or b"\n\t" in head:
        raise RefusedRequestError("a header is folded over several lines (RFC 9112, 5.2)")
    if head.count(b"\n") != head.count(b"\r\n"):
        raise RefusedRequestError("a line ends with LF alone (RFC 9112, 2.2)")
    if event.http_version not in (b"1.1", b"1.0"):
        raise RefusedRequestError("only HTTP/1.1 and HTTP/1.0 are spoken here", status=505)
    length = encoding = False
    for name, value in event.headers:
        if name == b"content-length":
            length = True
            if len(value) > _LENGTH_DIGITS:
                raise RefusedRequestError("its Content-Length is beyond any content", status=413)
        elif name == b"transfer-encoding":
            encoding = True
    if encoding and length:
        raise RefusedRequestError("it has both Content-Length and Transfer-Encoding (RFC 9112, 6.1)")
    if encoding and event.http_version == b"1.0":
        raise RefusedRequestError("HTTP/1.0 has no Transfer-Encoding (RFC 9112, 6.1)")


def make_request(event: h11.Request, body: RequestBody, *, peer: str, scheme: str) -> Request:
    """Turn a vetted head into a request. Raises RefusedRequestError for a target that is not a path."""
    headers: tuple[Header, ...] = tuple(event.headers)
    target = event.target
    if not target.startswith(b"/") and target != b"*":
        target, headers = _absolute(target, headers)
    path, _, query = target.decode("ascii").partition("?")
    return Request(event.method.decode("ascii"), path, query, headers, body, peer, scheme)


def content_length(event: h11.Request) -> int | None:
    """Bytes of a vetted request's body, None when they are not told ahead (chunked)."""
    for name, value in event.headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


def keeps_alive(event: h11.Request) -> bool:
    """Whether the client wants the connection kept (HTTP/1.0 clients are not asked)."""
    if event.http_version != b"1.1":
        return False
    return not any(name == b"connection" and b"close" in value.lower() for name, value in event.headers)


def _absolute(target: bytes, headers: tuple[Header, ...]) -> tuple[bytes, tuple[Header, ...]]:
    """Take ``http://host/path`` apart; its host replaces the Host header (RFC 9112, 3.2.2)."""
    scheme, mark, rest = target.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if scheme.lower() not in (b"http", b"https") or not mark or not authority or b"@" in authority:
        raise RefusedRequestError("its target is not a path")
    if b"?" in authority or b"#" in authority:
        raise RefusedRequestError("its target is not a path")
    others = tuple(header for header in headers if header[0] != b"host")
    return b"/" + path if slash else b"/", ((b"host", authority), *others)
