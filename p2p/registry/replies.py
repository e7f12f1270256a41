"""Answers that every endpoint gives: errors as the spec renders them, headers, conditions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from p2p.core.oci.error import BODY_TYPE, RegistryError
from p2p.errors import (
    ContentError,
    LocalError,
    OriginDeniedError,
    OriginLimitedError,
    OriginNotFoundError,
    RemoraError,
    RemoteError,
    StoreFullError,
    VerificationError,
)
from p2p.net.message import Content, Header, Response

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.net.message import Request
    from p2p.registry.upstreams import Choice

VERSION: Final[Header] = (b"Docker-Distribution-API-Version", b"registry/2.0")


def json_response(status: int, document: object, headers: tuple[Header, ...] = ()) -> Response:
    """Answer with JSON."""
    data = json.dumps(document, separators=(",", ":")).encode("ascii")
    return Response(status, ((b"Content-Type", b"application/json"), VERSION, *headers), Content(data))


def error_response(error: RemoraError, unknown: str) -> Response:
    """Render any error of ours; see ``as_registry_error`` for ``unknown``."""
    answer = as_registry_error(error, unknown)
    headers = [(b"Content-Type", BODY_TYPE.encode()), VERSION]
    if isinstance(error, OriginLimitedError | ContentError):
        headers.append((b"Retry-After", b"%d" % max(1, math.ceil(error.retry_after))))
    if answer.status == 405 and isinstance(answer.detail, Mapping):
        allowed = answer.detail.get("allowed", ())
        headers.append((b"Allow", ", ".join(allowed).encode("ascii")))
    return Response(answer.status, tuple(headers), Content(answer.body()))


def as_registry_error(error: RemoraError, unknown: str) -> RegistryError:
    """Give an error the code and status that make clients do the right thing.

    ``unknown`` is the endpoint's own code for what does not exist. On the way to an upstream never 401
    (clients would ask *us* for credentials: only ``Proof`` means that), nor 408 or 429 (containerd hammers
    these even on a mirror): all else makes a client go on to its next host, and shows the message where there
    is none.
    """
    if isinstance(error, RegistryError):
        return error
    message = f"{error.subject}: {error.cause}"
    if isinstance(error, OriginNotFoundError):
        return RegistryError(unknown, message, mend=error.mend)
    if isinstance(error, OriginDeniedError):
        return RegistryError("DENIED", message, mend=error.mend)
    if isinstance(error, OriginLimitedError | ContentError):
        return RegistryError("UNAVAILABLE", message, mend=error.mend)
    if isinstance(error, RemoteError | VerificationError):
        return RegistryError("UNAVAILABLE", message, status=502, mend=error.mend)
    if isinstance(error, StoreFullError):
        return RegistryError("UNAVAILABLE", message, status=507, mend=error.mend)
    if isinstance(error, LocalError):
        return RegistryError("UNKNOWN", message, mend=error.mend)
    return RegistryError("UNKNOWN", message, status=500, mend=error.mend)


def content_headers(choice: Choice, digest: Digest) -> tuple[Header, ...]:
    """Headers of a blob or a manifest, but for its type and length."""
    text = str(digest).encode()
    return (
        (b"Docker-Content-Digest", text),
        (b"ETag", b'"%b"' % text),
        VERSION,
        *namespace_headers(choice),
    )


def namespace_headers(choice: Choice) -> tuple[Header, ...]:
    """Say which upstream ``ns`` was taken for, where the request had one."""
    if choice.namespace is None:
        return ()
    return ((b"OCI-Namespace", choice.namespace.encode()),)


def not_modified(request: Request, choice: Choice, digest: Digest) -> Response | None:
    """Answer 304 if the client has this digest already (If-None-Match; RFC 9110, 13.1.2)."""
    asked = request.header(b"if-none-match")
    if asked is None:
        return None
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in asked.split(",")}
    if str(digest) not in tags and "*" not in tags:
        return None
    return Response(304, content_headers(choice, digest))


def next_link(choice: Choice, endpoint: str, *, n: int, last: str) -> Header:
    """Point to the next page of a list on this node, the way the client came here."""
    namespace = "" if choice.namespace is None else f"&ns={quote(choice.namespace, safe='')}"
    target = f"/v2/{choice.name}/{endpoint}?n={n}&last={quote(last, safe='')}{namespace}"
    return b"Link", f'<{target}>; rel="next"'.encode("ascii")
