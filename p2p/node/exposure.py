"""Who may reach the peer port: only this host, unless the operator says that the network is trusted."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from p2p.errors import ConfigError
from p2p.net.listeners import split_address

if TYPE_CHECKING:
    from p2p.config import PeerSettings


def is_loopback(address: str) -> bool:
    """Whether ``host:port`` names a loopback host; ConfigError where it is not of that form."""
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_peer_address(settings: PeerSettings) -> None:
    """Refuse to listen for peers beyond loopback: ConfigError, unless ``insecure`` is set."""
    if not settings.insecure and not is_loopback(settings.listen):
        raise ConfigError(
            f"peer address {settings.listen}",
            "is reachable from other hosts, and peers are not authenticated",
            "Give --insecure (peer.insecure) on a network that you trust, or listen on 127.0.0.1",
        )
