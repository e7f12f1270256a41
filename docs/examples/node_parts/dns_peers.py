"""A provider source: all addresses that a name has, such as a headless service's of an orchestrator."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2p.core.wire.common import Provider
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.discovery.api import PeerBook
    from p2p.node.plugins import PluginContext

SECONDS = 30.0


class DnsPeers:
    """``ProviderSource`` that resolves a name every half minute."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def run(
        self, peers: PeerBook, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Add what is new and forget what is gone; a name that can't be resolved changes nothing."""
        task_status.started()
        known: set[str] = set()
        while True:
            try:
                found = await trio.socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            except OSError:
                await trio.sleep(SECONDS)
                continue
            hosts = {str(address[0]) for *_, address in found}
            for host in sorted(hosts - known):
                peers.add_known(Provider(self._node(host), f"{host}:{self._port}", host, self._port))
            for host in sorted(known - hosts):
                peers.forget(self._node(host))
            known = hosts
            await trio.sleep(SECONDS)

    def _node(self, host: str) -> str:
        # Who answers there is not known before it does; this stands for it until then.
        return f"static:{host}:{self._port}"


@asynccontextmanager
async def open_dns_peers(context: PluginContext) -> AsyncIterator[DnsPeers]:
    """Make the source: the entry point ``dns`` of ``remora.providers``; options ``host`` and ``port``."""
    host, port = context.option("host"), context.option("port") or "5001"
    if not host or not port.isdigit():
        raise ConfigError("DNS peers", "there is no host, or no port", "Set host=… and port=…")
    yield DnsPeers(host, int(port))
