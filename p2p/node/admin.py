"""The admin socket's API: what ``remora status`` and ``explain`` read, and ``gc`` and ``scrub`` ask for.

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
from p2p.discovery.dht.statistics import DhtStatistics
from p2p.net.message import Content, Response
from p2p.store.api import StoreStatistics
from p2p.transfer.api import TransferStatistics

if TYPE_CHECKING:
    from p2p.net.message import Handler, Request
    from p2p.node.upkeep import Upkeep
    from p2p.registry.api import RequestStatistics
    from p2p.store.api import StoredBlob
    from p2p.transfer.engine import Account

READ: Final = ("/status", "/explain")
WORK: Final = ("/gc", "/scrub")
"""What changes something, or takes its time: POST."""
FIELDS: Final = {"/explain": ("digest",), "/gc": ("dry_run", "now"), "/scrub": ("digest",)}


class RequestReport(Struct, frozen=True, kw_only=True):
    """``RequestStatistics`` as JSON can hold it: ``requests`` rows of (route, status, count)."""

    requests: tuple[tuple[str, int, int], ...]
    sent: int
    hits: int
    misses: int
    stale_tags: int
    private_refused: int

    @classmethod
    def of(cls, now: RequestStatistics) -> RequestReport:
        """Take a snapshot."""
        rows = tuple((route, status, count) for (route, status), count in sorted(now.requests.items()))
        return cls(
            requests=rows,
            sent=now.sent,
            hits=now.hits,
            misses=now.misses,
            stale_tags=now.stale_tags,
            private_refused=now.private_refused,
        )


class SwarmStatus(Struct, frozen=True, kw_only=True):
    """One download under way: bytes ``verified`` of ``size`` (0: unknown), peers linked, readers."""

    digest: str
    size: int
    verified: int
    peers: int
    readers: int
    origin: bool = False
    """Whether this node streams it from the origin."""

    @classmethod
    def of(cls, one: Account) -> SwarmStatus:
        """Take what can be shown of it."""
        return cls(
            digest=one.digest,
            size=one.size,
            verified=one.verified,
            peers=len(one.peers),
            readers=one.readers,
            origin=one.lease,
        )


class Status(Struct, frozen=True, kw_only=True):
    """The node, now. ``addresses`` by listener, as they were bound; ``uptime`` in seconds.

    ``discovery``: each way of finding providers, and whether it is connected; ``dht`` None: it does not run.
    """

    node: str
    name: str
    version: str
    addresses: Mapping[str, str]
    uptime: float
    discovery: Mapping[str, bool]
    dht: DhtStatistics | None = None
    transfer: TransferStatistics
    store: StoreStatistics
    requests: RequestReport
    swarms: tuple[SwarmStatus, ...] = ()


Explain = Callable[[Digest], Awaitable[Mapping[str, object]]]
"""Tells all that the node knows of a digest, in what JSON can hold: where it is, who has it, why not."""


def explained(
    digest: Digest, stored: StoredBlob | None, download: object, about: Mapping[str, object]
) -> Mapping[str, object]:
    """Say where a blob is, and where its bytes came from."""
    size = 0 if stored is None else stored.size
    return {"digest": str(digest), "stored": stored is not None, "size": size, "download": download, **about}


def admin_handler(status: Callable[[], Status], explain: Explain, upkeep: Upkeep) -> Handler:
    """Make the handler: ``GET /status``, ``GET /explain?digest=…``, ``POST /gc?dry_run=1&now=1``.

    And ``POST /scrub?digest=…&digest=…``, which without a digest is for all. Both POSTs answer in lines, see
    ``upkeep``. Raises RegistryError, which the server renders, for another path, method or field, or a
    malformed digest.
    """

    async def handle(request: Request) -> Response:
        if request.path not in (*READ, *WORK):
            raise RegistryError(
                "UNSUPPORTED", f"{shown(request.path)} is not here", {"paths": [*READ, *WORK]}, status=404
            )
        if request.method not in (("GET", "HEAD") if request.path in READ else ("POST",)):
            raise RegistryError("UNSUPPORTED", f"{shown(request.method)} is not a method of this path")
        if request.path == "/status":
            return _json(status())
        fields = parse_fields(request.query)
        for name in fields:
            if name not in FIELDS[request.path]:
                # A flag that was misspelt must not turn a dry run into a real one.
                raise RegistryError("UNSUPPORTED", f"{shown(name)} is not a field of this path", status=400)
        if request.path == "/gc":
            return Response(200, body=upkeep.collect(dry_run="dry_run" in fields, early="now" in fields))
        if request.path == "/scrub":
            digests = [Digest.parse(text) for text in fields.get("digest", ())]
            return Response(200, body=await upkeep.scrub(digests))
        (text, *_) = fields.get("digest") or ("",)
        return _json(await explain(Digest.parse(text)))

    return handle


def _json(value: object) -> Response:
    body = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    return Response(200, ((b"content-type", b"application/json"),), Content(body))
