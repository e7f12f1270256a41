"""Who may reach which port (this host alone, unless told otherwise), and by which address others do."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import structlog

from p2p.errors import ConfigError
from p2p.net.listeners import open_listeners, split_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from p2p.config import NodeSettings, PeerSettings
    from p2p.net.listeners import Listener

log = structlog.get_logger(__name__)


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


def check_registry_address(listen: str, *, authenticated: bool, encrypted: bool, insecure: bool) -> None:
    """Refuse to serve the registry beyond loopback to whoever comes: ConfigError, unless ``insecure``.

    Whoever reaches it can pull what the node's own credentials can pull, and push. That passwords and
    tokens cross the network readable is warned about only: a proxy in front may do the TLS.
    """
    if insecure or is_loopback(listen):
        return
    if not authenticated:
        raise ConfigError(
            f"registry address {listen}",
            "is reachable from other hosts, and clients are not authenticated",
            "Set auth.htpasswd or auth.jwks, or listen on 127.0.0.1; on a network that you trust set "
            "registry.insecure = true",
        )
    if not encrypted:
        log.warning("passwords and tokens cross the network unencrypted", registry=listen, mend="set tls")


async def open_ports(settings: NodeSettings, admin: Path) -> dict[str, Sequence[Listener]]:
    """Listen, by role; ``admin`` is a socket's path. All or none: LocalError, ConfigError."""
    opened: dict[str, Sequence[Listener]] = {}
    try:
        for role, address in (
            ("registry", settings.registry.listen),
            ("peer", settings.peer.listen),
            ("metrics", settings.metrics.listen),
            ("admin", f"unix:{admin}"),
        ):
            opened[role] = await open_listeners(address)
    except BaseException:
        close_ports(opened)
        raise
    return opened


def close_ports(opened: Mapping[str, Sequence[Listener]]) -> None:
    """Close what ``open_ports`` opened."""
    for listeners in opened.values():
        for listener in listeners:
            listener.close()


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
