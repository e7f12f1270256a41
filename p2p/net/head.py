"""The head of a request: refuse what two parsers could read in two ways, and turn the rest into values.

h11 parses leniently (RFC 9112 allows it to); in front of other registries and behind other proxies that
is how requests are smuggled. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.net.errors import RefusedRequestError
from p2p.net.message import Header, Request, RequestBody

if TYPE_CHECKING:
    import h11

TLS_HANDSHAKE = 0x16
"""First byte of a TLS record of type handshake (RFC 8446, 5.1): a ClientHello on a plain port."""

_LENGTH_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head, vetted. ``length`` is its body's in bytes, None for chunked."""

    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    length: int | None
    keep_alive: bool


def read_head(event: h11.Request, raw: bytes, header_bytes: int) -> Head:
    """Vet a request whose head was ``raw``, at most ``header_bytes`` long.

    Raises RefusedRequestError for one that is ambiguous or too large.
    """
    if len(raw) > header_bytes:
        raise RefusedRequestError(f"its head is larger than {header_bytes} bytes", status=431)
    if b"\n " in raw or b"\n\t" in raw:
        raise RefusedRequestError("a header is folded over several lines (RFC 9112, 5.2)")
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raise RefusedRequestError("a line ends with LF alone (RFC 9112, 2.2)")
    if event.http_version not in (b"1.1", b"1.0"):
        raise RefusedRequestError("only HTTP/1.1 and HTTP/1.0 are spoken here", status=505)
    headers = tuple(event.headers)  # once: h11 makes each pair anew each time
    keep_alive = event.http_version == b"1.1"  # HTTP/1.0 clients are not asked
    length: int | None = None
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            if len(value) > _LENGTH_DIGITS:
                raise RefusedRequestError("its Content-Length is beyond any content", status=413)
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"connection" and b"close" in value.lower():
            keep_alive = False
    if chunked and length is not None:
        raise RefusedRequestError("it has both Content-Length and Transfer-Encoding (RFC 9112, 6.1)")
    if chunked and event.http_version == b"1.0":
        raise RefusedRequestError("HTTP/1.0 has no Transfer-Encoding (RFC 9112, 6.1)")
    return Head(event.method, event.target, headers, None if chunked else length or 0, keep_alive)


def make_request(head: Head, body: RequestBody, *, peer: str, scheme: str) -> Request:
    """Turn a head into a request. Raises RefusedRequestError for a target that is not a path."""
    target, headers = head.target, head.headers
    if not target.startswith(b"/") and target != b"*":
        target, headers = _absolute(target, headers)
    path, _, query = target.decode("ascii").partition("?")
    return Request(head.method.decode("ascii"), path, query, headers, body, peer, scheme)


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
