"""Who a browser may think we are: DNS rebinding and cross-site requests are refused.

A page on ``evil.example`` can point that name at 127.0.0.1 and read what it likes, unless the ``Host`` it
then has to send is refused. Addresses are safe (rebinding needs a name), and registry clients that are no
browsers send neither ``Origin`` nor ``Sec-Fetch-Site``.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from p2p.core.oci.error import RegistryError, shown

if TYPE_CHECKING:
    from p2p.config import RegistrySettings
    from p2p.net.message import Request


class HostGuard:
    """Allows addresses, ``localhost``, the listening name, and the configured ``allowed_hosts``."""

    def __init__(self, settings: RegistrySettings) -> None:
        names = ("localhost", _name(settings.listen), *map(_name, settings.allowed_hosts))
        self._names = frozenset(name.lower() for name in names)

    def check(self, request: Request) -> None:
        """Raise RegistryError DENIED for a request that a hostile page could have sent."""
        if request.header(b"sec-fetch-site") == "cross-site" or request.header(b"origin") is not None:
            raise RegistryError("DENIED", "requests of web pages are refused here")
        host = request.header(b"host")
        if host is None:
            return  # HTTP/1.0; browsers always send it
        name = _name(host).lower().removesuffix(".")
        if name in self._names or _is_address(name) or name.endswith(".localhost"):
            return
        raise RegistryError(
            "DENIED",
            f"host {shown(name)} is none of this node's names",
            mend="Add it to registry.allowed_hosts in the node's configuration",
        )


def _name(host: str) -> str:
    """Give the host of ``host``, ``host:port`` or ``[address]:port``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
