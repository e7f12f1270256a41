"""The admin socket's API: what ``remora status`` and ``remora explain`` read.

It listens on a Unix socket in the state directory, so whoever may enter that directory may ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError, shown
from p2p.core.oci.route import parse_fields
from p2p.net.message import Content, Response
from p2p.store.api import StoreStatistics
from p2p.transfer.api import TransferStatistics

if TYPE_CHECKING:
    from p2p.net.message import Handler, Request
    from p2p.registry.api import RequestStatistics

PATHS: Final = ("/status", "/explain")


class RequestReport(Struct, frozen=True, kw_only=True):
    """``RequestStatistics`` as JSON can hold it: ``requests`` rows of (route, status, count)."""

    requests: tuple[tuple[str, int, int], ...]
    sent: int
    hits: int
    misses: int
    stale_tags: int

    @classmethod
    def of(cls, now: RequestStatistics) -> RequestReport:
        """Take a snapshot."""
        rows = tuple((route, status, count) for (route, status), count in sorted(now.requests.items()))
        return cls(requests=rows, sent=now.sent, hits=now.hits, misses=now.misses, stale_tags=now.stale_tags)


class SwarmStatus(Struct, frozen=True, kw_only=True):
    """One download under way: bytes ``verified`` of ``size`` (0: unknown), peers linked, readers."""

    digest: str
    size: int
    verified: int
    peers: int
    readers: int
    origin: bool = False
    """Whether this node streams it from the origin."""


class Status(Struct, frozen=True, kw_only=True):
    """The node, now. ``addresses`` by listener, as they were bound; ``uptime`` in seconds.

    ``discovery``: each way of finding providers, and whether it is connected.
    """

    node: str
    name: str
    version: str
    addresses: Mapping[str, str]
    uptime: float
    discovery: Mapping[str, bool]
    transfer: TransferStatistics
    store: StoreStatistics
    requests: RequestReport
    swarms: tuple[SwarmStatus, ...] = ()


Explain = Callable[[Digest], Awaitable[Mapping[str, object]]]
"""Tells all that the node knows of a digest, in what JSON can hold: where it is, who has it, why not."""


def admin_handler(status: Callable[[], Status], explain: Explain) -> Handler:
    """Make the handler: ``GET /status``, and ``GET /explain?digest=…``.

    Raises RegistryError, which the server renders, for another path or method or a malformed digest.
    """

    async def handle(request: Request) -> Response:
        if request.path not in PATHS:
            raise RegistryError(
                "UNSUPPORTED", f"{shown(request.path)} is not here", {"paths": list(PATHS)}, status=404
            )
        if request.method not in ("GET", "HEAD"):
            raise RegistryError("UNSUPPORTED", f"{shown(request.method)} is not a method of this path")
        if request.path == "/status":
            return _json(status())
        (text, *_) = parse_fields(request.query).get("digest") or ("",)
        return _json(await explain(Digest.parse(text)))

    return handle


def _json(value: object) -> Response:
    body = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    return Response(200, ((b"content-type", b"application/json"),), Content(body))
