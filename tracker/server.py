"""The tracker as a server: the WebSocket of nodes and commands, and pages for people and monitoring."""

from __future__ import annotations

import gc
import ipaddress
import json
import secrets
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.errors import ConfigError
from p2p.net.listeners import open_listeners, split_address
from p2p.net.message import Content, Request, Response, Takeover
from p2p.net.server import Server, serve
from tracker import dashboard
from tracker.core import Tracker
from tracker.hub import Hub
from tracker.metrics import CONTENT_TYPE, Metrics
from tracker.peer_table import Caps

if TYPE_CHECKING:
    from tracker.settings import TrackerSettings

_TEXT = ((b"Content-Type", b"text/plain; charset=utf-8"),)
_JSON = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"))

CONNECTIONS = Caps().nodes + 1024
"""Every node has one; commands, browsers and monitoring need some more."""

GC_THRESHOLDS = (50_000, 20, 100)
"""Allocations before a collection of the young, and young ones before one of the older and of all."""

log = structlog.get_logger(__name__)


class Pages:
    """Answers requests. ``ready`` is False before and after the time in which nodes are served."""

    def __init__(self, hub: Hub, allowed_hosts: tuple[str, ...] = ()) -> None:
        self.ready = False
        self._hub = hub
        self._metrics = Metrics(hub)
        self._allowed = frozenset({"localhost", *(name.lower() for name in allowed_hosts)})

    async def handle(self, request: Request) -> Response:
        """Route one request."""
        if request.path in ("/", "/ws") and (request.header(b"upgrade") or "").lower() == "websocket":
            return self._websocket(request)
        if request.method not in ("GET", "HEAD"):
            return Response(405, (*_TEXT, (b"Allow", b"GET, HEAD")), Content(b"method not allowed\n"))
        match request.path:
            case "/healthz":
                return Response(200, _TEXT, Content(b"ok\n"))
            case "/readyz":
                status = 200 if self.ready else 503
                return Response(status, _TEXT, Content(b"ready\n" if self.ready else b"not ready\n"))
            case "/metrics":
                return Response(200, ((b"Content-Type", CONTENT_TYPE),), Content(self._metrics.render()))
            case "/ws":
                return Response(426, (*_TEXT, (b"Upgrade", b"websocket")), Content(b"a WebSocket is here\n"))
            case "/" | "/api/nodes" if not self._host_allowed(request.header(b"host") or ""):
                # A page elsewhere may point its own name at this address and read what it gets.
                text = b"this host name is not allowed; add it to allowed_hosts\n"
                return Response(403, _TEXT, Content(text))
            case "/":
                page = dashboard.render(self._hub.machine, trio.current_time())
                return Response(200, dashboard.HEADERS, Content(page.encode(errors="replace")))
            case "/api/nodes":
                return Response(200, _JSON, Content(self._nodes()))
            case _:
                return Response(404, _TEXT, Content(b"not found\n"))

    def _websocket(self, request: Request) -> Response:
        if request.header(b"origin") is not None:
            # Nodes and commands send none; a browser always does, whatever page it shows.
            return Response(403, _TEXT, Content(b"not for browsers\n"), close=True)
        host = request.peer.rpartition(":")[0].strip("[]")
        return Response(101, body=Takeover(partial(self._hub.serve, address=host)))

    def _host_allowed(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._allowed
        return True

    def _nodes(self) -> bytes:
        rows = self._hub.machine.node_table(trio.current_time()).rows
        names = rows[0].__struct_fields__ if rows else ()
        table = [{name: getattr(row, name) for name in names} for row in rows]
        return json.dumps({"protocol": PROTOCOL_VERSION, "nodes": table}).encode()


def check_address(settings: TrackerSettings) -> None:
    """Refuse to listen beyond loopback without ``insecure``: ConfigError."""
    host, _ = split_address(settings.listen)
    if settings.insecure:
        return
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"tracker address {settings.listen}",
            "is reachable from other hosts, and nobody is authenticated",
            "Listen on 127.0.0.1, or give --insecure on a network that you trust",
        )


async def run(
    settings: TrackerSettings, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until the ``Server`` that it starts with is stopped, or until cancelled.

    Raises ConfigError, PortInUseError or LocalError where it can't listen.
    """
    check_address(settings)
    # What nodes announce lives for long and is much: looking through all of it for cycles would stop
    # everything for a good part of a second, again and again.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    listeners = await open_listeners(settings.listen)
    # Above all that an earlier tracker gave, however often it granted: epochs are never used twice.
    first_epoch = int(datetime.now(UTC).timestamp() * 1000)
    machine = Tracker(
        trio.current_time(),
        first_epoch=first_epoch,
        run=secrets.token_hex(6),
        zones=settings.lease_scope == "zone",
        zone_copies=settings.zone_copies,
    )
    hub = Hub(machine)
    pages = Pages(hub, settings.allowed_hosts)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        async with trio.open_nursery() as serving:
            server: Server = await serving.start(partial(serve, pages.handle, listeners, most=CONNECTIONS))
            pages.ready = True
            log.info("tracker serves", listen=server.addresses)
            task_status.started(server)
            await server.wait_stopping()
            pages.ready = False
        nursery.cancel_scope.cancel()
    log.info("tracker stopped")
