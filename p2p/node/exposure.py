"""Who may reach the peer port (this host alone, unless the network is trusted), and by which address."""

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


def advertised(settings: PeerSettings, bound: str) -> tuple[str, int]:
    """Where other nodes are told to find us, listening on ``bound``.

    An empty host where that is every address: others take the one that they see us come from.
    """
    host, port = split_address(bound)
    if settings.advertise:
        said, number = split_address(settings.advertise)
        return said, number or port
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    return "" if everywhere else host, port
